"""Names for segments in any vocabulary, by models of images and text."""

from cast_exp.naming.image_text import ImageText, load_image_text
from cast_exp.naming.namer import Named, Namer, paint
from cast_exp.naming.segments import encode_segments, stored_encodings
from cast_exp.naming.vocabulary import PROMPT, Vocabulary

__all__ = [
    "PROMPT",
    "ImageText",
    "Named",
    "Namer",
    "Vocabulary",
    "encode_segments",
    "load_image_text",
    "paint",
    "stored_encodings",
]

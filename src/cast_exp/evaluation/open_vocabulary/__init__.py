"""Objects and parts named in an open vocabulary."""

from cast_exp.evaluation.open_vocabulary.labelling import OpenVocabulary

__all__ = ["OpenVocabulary"]

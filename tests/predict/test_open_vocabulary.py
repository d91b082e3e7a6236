"""Names of the segments of a tree, in words of a user."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cast_exp.data.datasets.base import UnreadableImage
from cast_exp.errors import UserError
from cast_exp.naming import Namer, Vocabulary, encode_segments, load_image_text
from cast_exp.ops.labels import shrunk_superpixels
from cast_exp.predict.open_vocabulary import OpenVocabulary
from cast_exp.predict.photo import shrunk
from cast_exp.predict.tree import SegmentTree, segment_tree
from cast_exp.superpixels.grid import square_patches

WORDS = "grass,cat(head,tail),dog(head,body,leg),sky,background"


def example() -> tuple[np.ndarray, np.ndarray, SegmentTree]:
    """64 squares, 16 larger ones, 4 quarters; of a picture 48 x 48."""
    coarse = np.random.default_rng(3).integers(256, size=(7, 7, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC))
    superpixels = square_patches(48, 48, 64).numpy()
    rows, columns = np.divmod(np.arange(64), 8)
    levels = [rows // 2 * 4 + columns // 2, rows // 4 * 2 + columns // 4]
    return pixels, superpixels, segment_tree(pixels, superpixels, levels)


def opened(image_text: Path, words: str = WORDS, level: int | None = None) -> OpenVocabulary:
    prompts = ["a photo of a {}"]
    return OpenVocabulary(words, prompts, str(image_text), level, 2, torch.device("cpu"))


def test_parts_are_named_under_their_objects(image_text: Path, tmp_path: Path) -> None:
    pixels, superpixels, tree = example()
    named = opened(image_text).name(tree, superpixels, pixels, tmp_path, Path("a.png"))
    model = load_image_text(str(image_text))
    namer = Namer(model, Vocabulary.parse(WORDS))
    small = torch.from_numpy(shrunk(pixels, 32)).movedim(-1, 0) / 255
    shown = shrunk_superpixels(superpixels, 32, 32)
    words = namer.vocabulary
    for segment in range(len(tree.level)):
        level, parent = int(tree.level[segment]), int(tree.parent[segment])
        mask = torch.from_numpy(tree.ids[level][shown] == segment)
        seen = encode_segments(model, small, mask[None])
        name = named.names[segment]
        if level == 2:
            assert name == words.objects[int(namer.objects(seen).labels[0])]
        elif level == 1:
            owner = int(named.objects[segment])
            assert owner == named.objects[parent]
            best = namer.parts(seen, torch.tensor([owner]))
            assert name == words.parts[int(best.labels[0])]
            if words.owners.count(owner) == 1:
                assert name == words.objects[owner]
                assert named.shares[segment] == named.shares[parent]
        else:
            assert name == named.names[parent]
    assert len(set(named.names)) > 3
    facts = named.facts()
    assert facts[0].keys() == {"name", "object", "share"}
    assert all(fact["name"].startswith(fact["object"]) for fact in facts)
    files = named.files(tree, superpixels, pixels)
    assert {name.split(".")[0] for name in files} == {
        *("open_objects", "open_objects_overlay", "open_parts", "open_parts_overlay")
    }


def test_without_parts_finer_segments_have_the_name_of_their_object(
    image_text: Path, tmp_path: Path
) -> None:
    pixels, superpixels, tree = example()
    named = opened(image_text, "cat,dog,sky,grass", 1).name(
        tree, superpixels, pixels, tmp_path, Path("a.png")
    )
    assert (named.parts == -1).all()
    assert set(named.names) <= {"cat", "dog", "sky", "grass"}
    coarse = opened(image_text, "cat,dog,sky,grass").name(
        tree, superpixels, pixels, tmp_path, Path("a.png")
    )
    for segment in np.flatnonzero(tree.level < 2):
        assert coarse.names[segment] == coarse.names[tree.parent[segment]]
    assert not (tmp_path / "parts.safetensors").exists()
    assert not any("parts" in name for name in coarse.files(tree, superpixels, pixels))


def test_mistakes(image_text: Path, tmp_path: Path) -> None:
    for words, level, message in (
        ("cat", 3, "--object-level 3: there are levels 1 to 2"),
        ("cat(head)", 1, "leaves no level for the parts"),
        ("cat,cat", None, "name twice: cat"),
    ):
        with pytest.raises(UserError, match=message):
            opened(image_text, words, level)
    superpixels = np.arange(64)[None].repeat(2, 0)
    pixels = np.zeros((2, 64, 3), np.uint8)
    tree = segment_tree(pixels, superpixels, [np.arange(64) // 16, np.arange(64) // 32])
    with pytest.raises(UnreadableImage, match="64 superpixels do not fit into the 32 x 1 pixels"):
        opened(image_text).name(tree, superpixels, pixels, tmp_path, Path("a.png"))

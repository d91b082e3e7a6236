"""Kept superpixels are those that the method would make, and are made once."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.errors import UserError
from cast_exp.superpixels import CachedSuperpixels, Grid, HostMethod, Seeds, Slic, SuperpixelMethod


def drawn(count: int, side: int = 40, seed: int = 0) -> Tensor:
    """Images of 8 bits (count, 3, side, side)."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1) * 255).byte()


class Counting(HostMethod):
    """SEEDS that counts the images that it is given."""

    def __init__(self, count: int, shift: int = 0) -> None:
        super().__init__(count)
        self.shift = shift
        self._seen = 0

    def labels(self, height: int, width: int) -> int:
        return Seeds(self.count).labels(height, width)

    def segment_image(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        self._seen += 1
        return np.roll(Seeds(self.count).segment_image(image), self.shift)


@pytest.mark.parametrize("method", [Seeds(16), Slic(16), Grid(16)], ids=repr)
def test_maps_are_those_of_the_method(method: SuperpixelMethod, tmp_path: Path) -> None:
    images = drawn(3)
    cached = CachedSuperpixels(method, tmp_path)
    assert cached.full == method.full
    assert cached.labels(40, 30) == method.labels(40, 30)
    for _ in range(2):
        assert cached(images / 255).equal(method(images / 255))
        for image in images:
            assert cached.of_pixels(image).equal(method.of_pixels(image))
        cached = CachedSuperpixels(method, tmp_path)


def test_an_image_is_segmented_once(tmp_path: Path) -> None:
    method, images = Counting(16), drawn(4)
    cached = CachedSuperpixels(method, tmp_path)
    for image in [*images, *images]:
        cached.of_pixels(image)
    assert method._seen == 4
    later = Counting(16)
    for image in images:
        CachedSuperpixels(later, tmp_path).of_pixels(image)
    assert later._seen == 0
    altered = images[0].clone()
    altered[2, 39, 39] ^= 1
    cached.of_pixels(altered)
    cached.of_pixels(images[0].reshape(3, 20, 80))  # the same bytes
    cached(images[:1].float() / 255)
    assert method._seen == 7


def test_parameters_and_code_have_maps_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawn(1)[0]
    for method in (Counting(16), Counting(16, shift=1), Counting(25)):
        assert CachedSuperpixels(method, tmp_path).of_pixels(image).equal(method.of_pixels(image))
        assert method._seen == 2
    monkeypatch.setattr("cast_exp.superpixels.cached.version", lambda package: "0.0.1")
    CachedSuperpixels(Counting(16), tmp_path).of_pixels(image)
    copy = tmp_path / "changed.py"
    copy.write_text(Path(__file__).read_text() + "\n")
    monkeypatch.setattr("cast_exp.superpixels.cached.inspect.getfile", lambda kind: str(copy))
    CachedSuperpixels(Counting(16), tmp_path).of_pixels(image)
    texts = {file.read_text() for file in tmp_path.glob("*/about.txt")}
    assert len(texts) == 5
    assert sum("Counting(count=16, shift=1)" in text for text in texts) == 1


def test_many_labels_do_not_overflow(tmp_path: Path) -> None:
    method, image = Grid(90_000), torch.zeros(3, 300, 300, dtype=torch.uint8)
    for _ in range(2):
        found = CachedSuperpixels(method, tmp_path).of_pixels(image)
        assert found.max() == method.labels(300, 300) - 1
        assert found.max() > 1 << 16


def test_code_in_no_file_is_refused(tmp_path: Path) -> None:
    kind = type("Typed", (Counting,), {"__module__": "typed"})
    with pytest.raises(UserError, match=r"Typed .*in no file.*data\.cache_superpixels=false"):
        CachedSuperpixels(kind(16), tmp_path)


def test_a_full_disk_costs_nothing_but_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cached = CachedSuperpixels(Seeds(16), tmp_path / "file")
    image = drawn(1)[0]
    with caplog.at_level(logging.WARNING):
        assert cached.of_pixels(image).equal(Seeds(16).of_pixels(image))
    assert "Not a directory" in caplog.text

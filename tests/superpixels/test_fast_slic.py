import numpy as np
import pytest
import torch
from support.drawing import batch, pieces, shapes

from cast_exp.errors import UserError
from cast_exp.superpixels import FastSlic, fast_slic

installed = pytest.mark.skipif(not FastSlic.is_installed(), reason="fast-slic is not installed")


def test_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_slic, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"make setup.*--no-build-isolation fast-slic==0\.4\.0"):
        FastSlic()


@installed
def test_equals_the_portable_code_of_the_library() -> None:
    from fast_slic import Slic

    image = shapes(224, 224)[0]
    slic = Slic(num_components=100, compactness=7.5, num_threads=1)
    expected = slic.iterate(np.ascontiguousarray(image), 6)
    np.testing.assert_array_equal(FastSlic(100, 7.5, 6)(batch(image))[0].numpy(), expected)


@installed
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (8, 8), (1, 100)])
def test_more_superpixels_than_pixels(size: tuple[int, int]) -> None:
    labels = FastSlic(196)(torch.rand(1, 3, *size))
    assert labels.max() < size[0] * size[1]


@installed
def test_labels_beyond_15_bits() -> None:
    labels = FastSlic(40_000)(batch(shapes(200, 200)[0]))
    assert labels.min() == 0
    assert labels.max() == 39_999


@installed
def test_has_no_orphans() -> None:
    labels = FastSlic()(batch(shapes(224, 224)[0]))[0].numpy()
    assert len(pieces(labels)) == labels.max() + 1


def test_too_many() -> None:
    with pytest.raises(UserError, match="at most 65534"):
        FastSlic(65535)

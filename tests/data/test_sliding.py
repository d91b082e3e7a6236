"""Windows over images, cut from them by hand."""

import cv2
import numpy as np
import pytest
import torch

from cast_exp.data.photometric import outline_values
from cast_exp.data.sliding import Sliding, short_side_size
from cast_exp.data.transforms import denormalise
from cast_exp.superpixels import Seeds


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((375, 500), (512, 683)),  # by mmsegmentation 0.14.1 for scale=(2048, 512)
        ((683, 512), (683, 512)),
        ((100, 1000), (205, 2048)),  # the longer side decides
        ((1000, 99), (2048, 203)),
    ],
)
def test_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert short_side_size(shape, 512, 4.0) == size


def test_windows_of_an_odd_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    image = cv2.resize(pixels, (61, 43), interpolation=cv2.INTER_CUBIC)
    method, outline = Seeds(16, 5, 4), outline_values(inverted=True)
    versions = Sliding(32, 20, 40, 4.0, (1.0, 0.5), mirrored=True)(image, method, outline)
    assert [version.mirrored for version in versions] == [False, True, False, True]
    assert [version.size for version in versions] == [(40, 57)] * 2 + [(32, 45)] * 2
    for version in versions:
        height, width = version.size
        scaled = image
        if height == 32:  # smaller than a window at first
            scaled = cv2.resize(image, (28, 20), interpolation=cv2.INTER_LINEAR)
        scaled = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
        if version.mirrored:
            scaled = scaled[:, ::-1]
        assert version.tops == ((0, 8) if height == 40 else (0,))
        assert version.lefts == ((0, 20, 25) if width == 57 else (0, 13))
        number = 0
        for top in version.tops:
            for left in version.lefts:
                cut = scaled[top : top + 32, left : left + 32]
                shown = denormalise(version.images[number][None])[0].movedim(0, -1)
                torch.testing.assert_close(255 * shown, torch.tensor(cut.astype(np.float32)))
                inverted = np.stack([outline[c][cut[..., c]] for c in range(3)])
                labels = method(torch.from_numpy(inverted)[None] / 255)[0]
                assert torch.equal(version.superpixels.map[number], labels)
                number += 1
        assert number == len(version.images)

"""Masks and annotation files of COCO's format."""

import sys

import numpy as np
import pytest
from support.tiny_data import (
    rectangle,
    run_lengths,
)

from cast_exp.data.datasets.coco import decode_mask
from cast_exp.errors import UserError

pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_masks_of_every_form():
    mask = rectangle(8, 10, 2, 3, 6, 9)
    columns = mask.T.ravel()
    changes = np.flatnonzero(np.diff(columns.astype(int))) + 1
    lengths = np.diff([0, *changes, columns.size]).tolist()
    forms = [
        run_lengths(mask),
        {"counts": lengths, "size": [8, 10]},
        [[3, 2, 9, 2, 9, 6, 3, 6]],
        [[3, 2, 6, 2, 6, 6, 3, 6], [6, 2, 9, 2, 9, 6, 6, 6]],
    ]
    for form in forms:
        np.testing.assert_array_equal(decode_mask(form, 8, 10), mask)
    with pytest.raises(UserError, match=r"size \(8, 10\) where \(8, 11\) is wanted"):
        decode_mask(forms[0], 8, 11)
    for bad in ({"counts": "x"}, "polygon", [], None):
        with pytest.raises(UserError, match="not of COCO's format"):
            decode_mask(bad, 8, 10)


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"cast-exp\[eval\]"):
        decode_mask([], 8, 10)

"""Files of prototypes: what is missing is made, what is of something else is not used."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval import memory as module
from cast_exp.evaluation.retrieval.memory import Entries, SegmentMemory

VOID = 5
IMAGES = np.array([2, 3, 7, 8, 11])


@pytest.fixture(autouse=True)
def two_images_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES_PER_FILE", 2)


def memory(folder: Path, key: str = "key") -> SegmentMemory:
    return SegmentMemory(folder, key, VOID, IMAGES)


def entries(index: int) -> Entries:
    """Two segments at level 0, of which the second is void, and one at level 1."""
    fine = torch.tensor([[index, 0.0], [index, 1.0]])
    return {0: (fine, torch.tensor([index % 5, VOID])), 1: (fine[:1], torch.tensor([4]))}


def fill(kept: SegmentMemory, indices: list[int]) -> SegmentMemory:
    for index in indices:
        kept.enter(index, entries(index))
    kept.flush()
    return kept


def voters(kept: SegmentMemory, level: int) -> list[tuple[list[float], int]]:
    return [
        (prototype.tolist(), int(label))
        for prototypes, labels in kept.blocks(level)
        for prototype, label in zip(prototypes, labels, strict=True)
    ]


def test_voters_come_in_order_without_void(tmp_path: Path) -> None:
    kept = fill(memory(tmp_path), IMAGES.tolist())
    assert voters(kept, 0) == [([i, 0.0], i % 5) for i in IMAGES.tolist()]
    assert voters(kept, 1) == [([i, 0.0], 4) for i in IMAGES.tolist()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number:05d}.safetensors" for number in range(3)
    ]


def test_files_are_made_in_any_order_and_what_is_missing_is_known(tmp_path: Path) -> None:
    assert memory(tmp_path).missing() == [0, 1, 2]
    fill(memory(tmp_path), [7, 8])
    fill(memory(tmp_path), [11])
    assert memory(tmp_path).missing() == [0]
    interrupted = memory(tmp_path)
    interrupted.enter(2, entries(2))  # the third image of the data is not reached
    assert memory(tmp_path).missing() == [0]
    fill(memory(tmp_path), [2, 3])
    assert voters(memory(tmp_path), 1) == [([i, 0.0], 4) for i in IMAGES.tolist()]


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    kept = fill(memory(tmp_path), [2, 7, 11])  # 3 and 8, the last of their files, cannot
    assert [prototype[0] for prototype, _ in voters(kept, 1)] == [2, 7, 11]
    assert memory(tmp_path).missing() == []


def test_files_of_something_else_are_made_anew(tmp_path: Path) -> None:
    fill(memory(tmp_path, "another"), IMAGES.tolist())
    assert memory(tmp_path).missing() == [0, 1, 2]
    fill(memory(tmp_path), [2, 3])
    assert memory(tmp_path).missing() == [1, 2]
    assert len(voters(memory(tmp_path), 0)) == 2


def test_nobody_to_vote(tmp_path: Path) -> None:
    kept = memory(tmp_path)
    kept.enter(2, {0: (torch.ones(1, 2), torch.tensor([VOID]))})
    kept.flush()
    with pytest.raises(UserError, match="the memory has no segment with a class"):
        list(kept.blocks(0))

"""A tiny ImageNet in each layout that it is distributed in, by GNU or BSD tar and scipy."""

import csv
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import noise

WNIDS = ("n02100735", "n01440764", "n01443537")
"""In the order of the devkit, which is not the sorted one."""
_TRUTH = (3, 1, 1, 2, 3)  # of the validation images


def class_folders(root: Path) -> Path:
    """`{train,val}/<wnid>/*.JPEG`: 4 training images of each class, 5 validation images."""
    for label, wnid in enumerate(WNIDS):
        for place, number in enumerate((1, 10, 9, 2)):
            noise(root / f"train/{wnid}/{wnid}_{number}.JPEG", seed=10 * label + place)
    for number, label in enumerate(_TRUTH, 1):
        noise(root / f"val/{WNIDS[label - 1]}/ILSVRC2012_val_{number:08}.JPEG", seed=100 + number)
    return root


def tar(path: Path, folder: Path, names: Sequence[str]) -> None:
    """Write an uncompressed archive of files in a folder, or one by gzip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = "-czf" if path.suffix == ".gz" else "-cf"
    subprocess.run(["tar", flags, str(path), "-C", str(folder), *names], check=True)


def published(folders: Path, root: Path) -> Path:
    """The archives of the same images."""
    for wnid in WNIDS:
        names = sorted(path.name for path in (folders / "train" / wnid).iterdir())
        tar(root / f"parts/{wnid}.tar", folders / "train" / wnid, names[::-1])
    tar(root / "ILSVRC2012_img_train.tar", root / "parts", [f"{wnid}.tar" for wnid in WNIDS])
    shutil.rmtree(root / "parts")
    flat = _flat_val(folders, root / "flat")
    tar(root / "ILSVRC2012_img_val.tar", flat, sorted(path.name for path in flat.iterdir()))
    shutil.rmtree(flat)
    data = root / "ILSVRC2012_devkit_t12/data"
    data.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, wnid, "a fish", 0) for number, wnid in enumerate(WNIDS, 1)]
    rows.append((1001, "n00001740", "entity", 3))
    synsets = np.array(rows, kinds).reshape(-1, 1)
    pytest.importorskip("scipy.io").savemat(data / "meta.mat", {"synsets": synsets})
    truth = "".join(f"{label}\n" for label in _TRUTH)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    tar(root / "ILSVRC2012_devkit_t12.tar.gz", root, ["ILSVRC2012_devkit_t12"])
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")
    return root


def kaggle(folders: Path, root: Path) -> Path:
    """Kaggle's layout of the same images."""
    images = root / "ILSVRC/Data/CLS-LOC"
    shutil.copytree(folders / "train", images / "train")
    _flat_val(folders, images / "val")
    rows = [
        (path.stem, f"{path.parent.name} 85 1 499 272 {path.parent.name} 3 4 50 60 ")
        for path in (folders / "val").rglob("*.JPEG")
    ]
    with (root / "LOC_val_solution.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("ImageId", "PredictionString"), *rows])
    return root


def _flat_val(folders: Path, place: Path) -> Path:
    place.mkdir(parents=True)
    for path in (folders / "val").rglob("*.JPEG"):
        shutil.copy2(path, place)
    return place

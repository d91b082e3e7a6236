"""Two tiny splits of images, and the shards and tables that libraries make of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import webdataset
from support.tiny_data import noise

CLASSES = ("ant", "bee", "cat")
IMAGES = {"train": 13, "val": 5}


def encoded(folder: Path) -> dict[str, list[tuple[bytes, int]]]:
    """PNG files and class numbers by split."""
    found: dict[str, list[tuple[bytes, int]]] = {}
    for seed, split in enumerate(IMAGES):
        for number in range(IMAGES[split]):
            path = folder / split / f"{number}.png"
            noise(path, seed=100 * seed + number)
            found.setdefault(split, []).append((path.read_bytes(), number % len(CLASSES)))
    return found


def write_shards(root: Path, samples: dict[str, list[tuple[bytes, int]]]) -> Path:
    """Shards of four samples, their classes as numbers and in JSON, by webdataset's writer."""
    root.mkdir(parents=True)
    for split, images in samples.items():
        with webdataset.ShardWriter(f"{root}/tiny-{split}-%04d.tar", maxcount=4, verbose=0) as sink:
            for number, (image, label) in enumerate(images):
                about = {"class": CLASSES[label]}
                sample = {"__key__": f"im/{number:03}", "png": image, "cls": label, "json": about}
                sink.write(sample)
    return root


def tables(samples: dict[str, list[tuple[bytes, int]]], **columns: Any) -> Any:
    """A DatasetDict with `train` and `validation`, columns `image` and `label`."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=[*CLASSES])} | columns)
    names = {"train": "train", "val": "validation"}
    return DatasetDict(
        {
            names[split]: Dataset.from_dict(
                {
                    "image": [{"bytes": image, "path": None} for image, _ in images],
                    "label": [label for _, label in images],
                },
                features,
            )
            for split, images in samples.items()
        }
    )


def write_parquet(root: Path, made: Mapping[str, Any]) -> Path:
    """The parquet files of splits, three of `train` and one of any other."""
    root.mkdir(parents=True, exist_ok=True)
    for split, table in made.items():
        files = 3 if split == "train" and len(table) > 3 else 1
        for number in range(files):
            path = root / f"{split}-{number:05}-of-{files:05}.parquet"
            table.shard(files, number).to_parquet(path)
    return root

"""A data set."""

from typing import Any

from PIL import Image

from cast_exp.extend import RawDataset, Split


class Plain(RawDataset):
    """Red, green and blue images, in turn; the class is the colour."""

    def __init__(self, split: Split, images: int = 48) -> None:
        self.classes = ["red", "green", "blue"]
        self.images = images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> dict[str, Any]:
        colour = tuple(255 * (index % 3 == channel) for channel in range(3))
        return {"image": Image.new("RGB", (64, 64), colour), "label": index % 3}

    def path(self, index: int) -> str:
        return f"plain image {index}"

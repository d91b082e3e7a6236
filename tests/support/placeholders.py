"""What the placeholders of printed commands stand for: tiny data, weights and runs."""

import re
from pathlib import Path

import torch
from support.cli import cast_train, runs
from support.commands import ROOT, Command
from support.miniature import miniature
from support.sources import IMAGES
from support.tiny_data import TREES, noise
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from cast_exp.checkpoints import save_pretrained
from cast_exp.checkpoints.files import CONFIG, read_checkpoint
from cast_exp.checkpoints.segmentation import CLASSES
from cast_exp.cli import main as cast_exp
from cast_exp.config import conf_dir
from cast_exp.data import SceneDataModule
from cast_exp.data.base import RawDataModule
from cast_exp.models import Pooling, create_model
from cast_exp.models.grouping import GraphPool, KMedoids
from cast_exp.models.heads import SegmentationHead
from cast_exp.run.build import build
from cast_exp.run.tree import compose, config_tree

_RECIPES = {
    "cast_exp.train": "shapes_moco",
    "cast_exp.eval": "shapes_hierarchy",
    "cast_exp.cli.advise": "shapes_moco",
}
_RUN = re.compile(r"runs/(\w+)/(?:sweep-)?TIME(/.*)?")
_NEWEST_RUN = re.compile(r"\$\$\(ls -td runs/(\w+)/.*\)")
_IMAGES = re.compile(r"data\.dataset\.images\.(train|val)")


class Things:
    """Makes each thing when a command names it first.

    Args:
        folder: Where all of them are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def words(self, command: Command) -> list[str]:
        """The arguments of a command, with real things for placeholders."""
        before = ("", *command.words)
        return [self._word(command, *pair) for pair in zip(before, command.words, strict=False)]

    def data(self, option: str) -> Path:
        """A data set in the layout that an option of `data` reads."""
        root = self.folder / "data" / option
        return root if root.exists() else TREES[option](root)

    def packed(self, option: str) -> Path:
        """A pack of the same."""
        root = self.folder / "packed" / option
        if not root.exists():
            data = [f"data={option}", f"data.root={self.data(option)}"]
            assert cast_exp(["pack", *data, "--out", str(root)]) == 0
        return root

    def run(self, experiment: str) -> Path:
        """The folder of a run that is finished."""
        place = self.folder / "trained" / experiment
        if not place.exists():
            words = [f"experiment={experiment}", f"paths.runs={place}"]
            option = chosen_data(words)
            words += [f"data.root={self.data(option)}"] if option in TREES else []
            assert cast_train(*miniature("train", words)) == 0
        return runs(place)[0]

    def weights(self, model: str = "cast_tiny") -> Path:
        """A model for dense prediction or a ViT, in the layout of converted ones."""
        folder = self.folder / model
        if not folder.exists():
            torch.manual_seed(0)
            grouping = KMedoids if model.startswith("kmedoids") else GraphPool
            own = {} if model.startswith("vit") else {"pooling": Pooling((12, 8, 4, 2), grouping)}
            model = model.replace("kmedoids", "cast")
            save_pretrained(create_model(model, fusion=True, image_size=64, **own), folder)
        return folder

    def trained(self, option: str) -> Path:
        """The same with a head for the classes of an option of `data`."""
        path = self.folder / f"{option}.ckpt"
        if not path.exists():
            root = [f"data.root={self.data(option)}"] if option in TREES else []
            with config_tree():
                data: RawDataModule = build(compose("eval", [f"data={option}", *root]).data)
            checkpoint = read_checkpoint(self.weights())
            dim = checkpoint[CONFIG]["dim"]
            if isinstance(data, SceneDataModule):
                checkpoint[CLASSES] = data.semantic_classes
                head: nn.Module = SegmentationHead(dim, data.num_classes)
            else:
                head = nn.Linear(dim, data.num_classes)
            checkpoint["state_dict"] |= {f"head.{k}": v for k, v in head.state_dict().items()}
            torch.save(checkpoint, path)
        return path

    def vit(self) -> Path:
        """A ViT as timm saves it."""
        path = self.folder / "vit.pth"
        if not path.exists():
            torch.manual_seed(0)
            vit = VisionTransformer(img_size=64, embed_dim=96, depth=2, num_heads=1, num_classes=5)
            torch.save(vit.state_dict(), path)
        return path

    def photos(self) -> Path:
        """A folder with a photograph."""
        noise(self.folder / "photos" / "photo.jpg", (80, 64))
        return self.folder / "photos"

    def _word(self, command: Command, before: str, word: str) -> str:
        key, equals, values = word.rpartition("=")
        real = [self._value(command, key or before, value) for value in values.split(",")]
        return f"{key}{equals}{','.join(real)}"

    def _value(self, command: Command, key: str, value: str) -> str:
        """What a value of a key, or of the option before it, stands for."""
        if key == "data.root":
            option = chosen_data(command.words)
            return str(self.packed(option) if value == "PACKED" else self.data(option))
        if key == "scenes.root":
            return str(self.data("voc_aug"))
        if found := _IMAGES.fullmatch(key):
            return str(IMAGES[found[1]])
        if key == "--out" and value.startswith("/"):
            return f"{self.folder}{value}"
        if key == "experiment" and value == "...":
            return _RECIPES[command.module]
        if key == "checkpoint" and value == "TRAINED":
            return str(self.trained(chosen_data(command.words)))
        if value == "VIT":
            return str(self.vit())
        if key.endswith(("checkpoint", ".vit")) and value in ("CKPT", "CKPT1", "CKPT2", "..."):
            other = any("CKPT2" in word for word in command.words)
            vit = key.endswith(".vit") or ("ViT" in (command.note or "") and not other)
            return str(self.weights("vit_tiny" if vit else "cast_tiny"))
        if value == "KM":
            return str(self.weights("kmedoids_tiny"))
        if key == "convert":
            return str(self.weights())
        if (key, value) == ("show", "FOLDER"):
            return str(self.run("shapes_moco"))
        if found := _RUN.fullmatch(value):
            recipe = "shapes_moco" if found[1] == "NAME" else found[1]
            return f"{self.run(recipe)}{found[2] or ''}"
        if found := _NEWEST_RUN.fullmatch(value):
            return str(self.run(found[1]))
        if key in ("--images", "--ground-truth"):
            part = {"--images": "images", "--ground-truth": "groundTruth"}[key]
            return str(self.data("bsds500") / part / "val")
        others = {
            ("--checkpoint", "FINETUNED"): lambda: self.run("shapes_finetune"),
            ("resume", "FOLDER"): lambda: self.run("shapes_moco"),
            ("", "CKPT"): self.weights,
            ("", "FOLDER"): self.photos,
            ("", "photo.jpg"): lambda: self.photos() / "photo.jpg",
            ("", "PHOTO_OR_FOLDER..."): lambda: self.photos() / "photo.jpg",
            ("", "docs/creatures.png"): lambda: ROOT / "docs/creatures.png",
            ("--models", "..."): lambda: "cast_tiny",
            ("info", "NAME"): lambda: "cast_small_in1k_moco",
        }
        return str(others.get((key, value), lambda: value)())


def chosen_data(words: list[str] | tuple[str, ...]) -> str:
    """The option of `data` that overrides choose, by themselves or by their recipe."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if "data" in given:
        return given["data"]
    recipe = (conf_dir() / "experiment" / f"{given['experiment']}.yaml").read_text()
    found = re.search(r"override /data: (\w+)", recipe)
    assert found is not None
    return found[1]

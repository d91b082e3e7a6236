"""Backbones on Hugging Face, as `model.safetensors` with a card `config.json` beside it."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download

from cast_exp.checkpoints.files import CARD, WEIGHTS, write_converted
from cast_exp.download.hub import told_in_a_line, verify_cached
from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone

PREFIX = "hf-hub:"
"""What stands before the name of a model on Hugging Face, as in timm: hf-hub:NAME[@REVISION]."""


def save_pretrained(backbone: Backbone, folder: str | Path) -> None:
    """Write a backbone as `load_pretrained` reads it.

    Args:
        backbone: One of `create_model` or `load_pretrained`.
        folder: Where its two files go; it is made.

    Raises:
        UserError: The backbone was built otherwise.
    """
    _OnHub(backbone)._save_pretrained(Path(folder))


def push_to_hub(backbone: Backbone, name: str, **options: Any) -> str:
    """Put a backbone on Hugging Face, where `load_pretrained("hf-hub:NAME")` finds it.

    Args:
        backbone: One of `create_model` or `load_pretrained`.
        name: Name of the model, as in "me/mine".
        options: Those of huggingface_hub's `ModelHubMixin.push_to_hub` (private, token, ...).

    Returns:
        Address of the commit.

    Raises:
        UserError: The backbone was built otherwise.
    """
    return str(_OnHub(backbone).push_to_hub(name, **options))


def fetch_from_hub(name: str) -> Path:
    """Folder of a model of Hugging Face, which is downloaded unless it is there.

    Args:
        name: NAME or NAME@REVISION.

    Raises:
        UserError: There is no such model, it cannot be reached, or its weights are damaged.
    """
    model, _, revision = name.partition("@")
    with told_in_a_line(f"{PREFIX}{name}", "check name, connection and, if it is private, token"):
        folder = Path(
            snapshot_download(model, revision=revision or None, allow_patterns=[WEIGHTS, CARD])
        )
    verify_cached(folder / WEIGHTS)
    return folder


class _OnHub(
    ModelHubMixin,
    library_name="cast_exp",
    pipeline_tag="image-feature-extraction",
    license="mit",
    tags=["superpixels", "hierarchical-segmentation"],
):
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def _save_pretrained(self, save_directory: Path) -> None:
        config = self.backbone.config
        if config is None:
            raise UserError("only models built by create_model or load_pretrained can be saved")
        write_converted(save_directory, self.backbone.state_dict(), config.to_dict(), {})

"""Models of images and text (CLIP and its kin), as open_clip has them."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.checkpoints.files import fingerprint
from cast_exp.download.hub import told_in_a_line
from cast_exp.errors import UserError, listing
from cast_exp.extras import from_extra

CONFIG = "open_clip_config.json"
"""What describes the model in a folder of open_clip."""
HUB = "hf-hub:"
"""What stands before the name of a model on Hugging Face."""


class ImageText(nn.Module):
    """Encodes images and texts as vectors that can be compared.

    Args:
        model: A model of open_clip.
        tokenizer: What makes token numbers of texts.
        name: Of the model, for messages.

    Attributes:
        size: Height and width of the images that it takes, in pixels.
        mean, std: What brings images in 0..1 to what it was trained on, float (3, 1, 1) each.
        temperature: What cosines are multiplied by before the softmax.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, tokenizer: Callable[[list[str]], Tensor], name: str
    ) -> None:
        super().__init__()
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        config = _open_clip(name).get_model_preprocess_cfg(model)
        size = config["size"]
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        for key in ("mean", "std"):
            value = torch.tensor(config[key]).float().reshape(3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        scale: Any = model.logit_scale
        self.temperature = math.exp(scale.max())

    @cached_property
    def identity(self) -> str:
        """Hash of its weights, to tell what was computed with them."""
        return fingerprint(self)

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode images; in bfloat16 on a GPU.

        Args:
            images: Normalised, float (N, 3, H, W), on the device of the model.

        Returns:
            Of length one, float32 (N, D), on that device.
        """
        return self._unit(self.model.encode_image, images)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts; as images."""
        tokens = self.tokenizer(list(texts)).to(self.mean.device)
        return self._unit(self.model.encode_text, tokens)

    @torch.no_grad()
    def _unit(self, encode: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        on_gpu = given.device.type == "cuda"
        with torch.autocast(given.device.type, torch.bfloat16, enabled=on_gpu):
            encoded = encode(given)
        return F.normalize(encoded.float(), dim=-1)


def load_image_text(name: str) -> ImageText:
    """Load a model of images and text with its weights.

    Args:
        name: A folder with `open_clip_config.json` and weights; or `hf-hub:NAME`, a model of
            Hugging Face in that layout; or `ARCHITECTURE/WEIGHTS`, names of open_clip, such as
            `ViT-B-16/openai`. What is not in the cache of Hugging Face is downloaded.

    Raises:
        UserError: open_clip is not installed, there is no such model, it cannot be fetched, or its
            weights are missing or do not fit.
    """
    open_clip = _open_clip(name)
    options: dict[str, Any] = {}
    architecture, _, weights = name.partition("/")
    if Path(name).is_dir():
        return _of_folder(Path(name))
    if name.startswith(HUB):
        source, advice = name, "check name and connection, or name a folder that holds the model"
    elif architecture in open_clip.list_models():
        known = open_clip.list_pretrained_tags_by_model(architecture)
        if weights not in known:
            raise UserError(
                f"image-text model {name}: open_clip has these weights of {architecture}: "
                f"{', '.join(known) or 'none'}"
            )
        source = architecture
        advice = f"check the connection, or name a folder that holds {CONFIG} and weights"
        about = open_clip.get_pretrained_cfg(architecture, weights)
        # open_clip only warns where weights were trained with the other kind of GELU.
        options = {"pretrained": weights, "force_quick_gelu": bool(about.get("quick_gelu"))}
    else:
        raise UserError(
            f"no image-text model {name}: give a folder that holds {CONFIG}, {HUB}NAME, or "
            "ARCHITECTURE/WEIGHTS of open_clip, such as ViT-B-16/openai"
        )
    with told_in_a_line(f"image-text model {name}", advice):
        return _made(source, name, **options)


def _of_folder(folder: Path) -> ImageText:
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is no image-text model: there is no {CONFIG} in it")
    try:
        return _made(f"local-dir:{folder}", str(folder))
    except Exception as error:  # of which kind depends on what is in the files
        reason = listing([" ".join(str(error).split()) or type(error).__name__])
        raise UserError(f"image-text model {folder} cannot be loaded: {reason}") from error


def _made(source: str, name: str, **options: Any) -> ImageText:
    open_clip = _open_clip(name)
    with _quiet():
        model = open_clip.create_model(source, require_pretrained=True, **options)
        return ImageText(model, open_clip.get_tokenizer(source), name)


def _open_clip(name: str) -> Any:
    """The library."""
    return from_extra("open", f"the image-text model {name}", "open_clip")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from logging each step: what fails is raised."""
    root, handler, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)  # without one, logging sets itself up
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)

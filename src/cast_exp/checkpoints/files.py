"""Reads and writes the files that hold weights, without running code from them."""

import argparse
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cast_exp.errors import UserError, listing
from cast_exp.output.files import atomic_write, write_json

CONFIG = "backbone"
"""Key under which our checkpoints carry the config of the backbone."""
PREFIX = "backbone."
"""What stands before the names of its weights there."""
AVERAGE = "average.module.backbone."
"""What stands before those of their moving average, which supervised training keeps."""
WEIGHTS = "model.safetensors"
"""The weights in the folder of a converted model."""
CARD = "config.json"
"""What is known about them, beside: `config` as of `ModelConfig.to_dict`, and `about`."""
TIMM = "pretrained_cfg"
"""What timm's cards, of the same name, tell of the weights: the mean and std of the inputs."""

_MOST_SMALL = 2**28
"""Values that a file may claim to have without storing them: all of a small model."""
_LARGEST_CARD = 2**20


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU.

    Args:
        path: A file of torch (of a run of ours, the official release's, or of a ViT), or a
            converted model or one of timm: its folder or its `.safetensors` file.

    Returns:
        What the file holds; a converted model in the layout of the checkpoints of our runs. Weights
        without a card, or with timm's, are a `state_dict`. Tensors are dense and on the CPU.

    Raises:
        UserError: The file is missing, truncated or not a checkpoint, or claims to hold more than
            it has room for.
    """
    if path.is_dir() or path.suffix == ".safetensors":
        return _read_converted(path if path.is_dir() else path.parent, path)
    if path.exists() and not path.is_file():  # to read from a pipe or a device is to wait for ever
        raise UserError(f"{path} is not a file; give the path of a checkpoint")
    try:
        # The official supervised checkpoints carry the command line as a Namespace.
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Mapped, only what is used is read; files of before torch 1.6 are no archives.
            mapped = is_zipfile(path)
            if mapped and _unpacked(path) > path.stat().st_size:
                raise ValueError("its archive is compressed")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; check the path") from None
    except Exception as error:
        raise _unreadable(path, error) from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not a checkpoint")
    if not all(isinstance(name, str) for name in loaded):
        raise UserError(f"{path} holds numbered values, not a checkpoint, where each has a name")
    _require_room(path, loaded)
    return loaded


def require_whole(path: Path) -> None:
    """Make sure that a file of torch is as it was written; torch does not look at its checksums.

    Raises:
        ValueError: A part of it is damaged.
        zipfile.BadZipFile: It is cut short.
    """
    with ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def weights_of(checkpoint: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The weights in a checkpoint of ours whose names start with a prefix, without it.

    Raises:
        UserError: It has no weights.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, Mapping):
        raise UserError("the checkpoint has no weights (state_dict); is it complete?")
    return {k.removeprefix(prefix): v for k, v in _tensors(state) if k.startswith(prefix)}


def best_weights(folder: Path) -> Path:
    """The best checkpoint of a run, or its last one if none was the best.

    Raises:
        UserError: There is none.
    """
    for name in ("best", "last"):
        if (path := folder / "checkpoints" / f"{name}.ckpt").is_file():
            return path
    raise UserError(f"{folder} has no checkpoints/best.ckpt or last.ckpt; has it trained?")


def epoch_weights(folder: Path, epoch: int) -> Path | None:
    """The checkpoint that a run has kept after so many epochs; None if it has kept none."""
    path = folder / "checkpoints" / f"epoch{epoch - 1:04d}.ckpt"  # counted from 0
    return path if path.is_file() else None


def write_converted(
    folder: Path,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write a model as `WEIGHTS` and `CARD`, which hold no code.

    Args:
        folder: Where they go; it is made.
        state: State dict of the backbone.
        config: Its `ModelConfig`, as plain values.
        about: Where it comes from and the like, as plain values.

    Raises:
        UserError: The folder cannot be written to.
    """
    contiguous = {name: value.contiguous() for name, value in state.items()}
    try:
        with atomic_write(folder / WEIGHTS) as new:
            save_file(contiguous, new, metadata={"format": "pt"})
        write_json(folder / CARD, {"config": dict(config), "about": dict(about)})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write to {folder} ({error}); choose another folder") from error


def fingerprint(module: nn.Module) -> str:
    """Hash of the names and values of all weights, to tell what has been computed with them."""
    weights = sha256()
    for name, value in sorted(module.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return weights.hexdigest()


def _read_converted(folder: Path, path: Path) -> dict[str, Any]:
    weights = folder / WEIGHTS if path == folder else path
    described = path == folder or (folder / CARD).is_file()
    for file in (weights, folder / CARD)[: 1 + described]:
        if not file.is_file():
            raise UserError(
                f"{path} is not a converted model: there is no {file.name} in {folder}; one is "
                "made by: cast-exp zoo convert CHECKPOINT --out FOLDER"
            )
    try:
        if described and (folder / CARD).stat().st_size > _LARGEST_CARD:
            raise ValueError(f"{CARD} is longer than {_LARGEST_CARD} bytes")
        card = json.loads((folder / CARD).read_text(encoding="utf-8")) if described else {TIMM: {}}
        state = load_file(weights)
    except Exception as error:  # of whatever kind: both are a stranger's
        raise _unreadable(path, error) from error
    if isinstance(card, dict) and TIMM in card:
        return {TIMM: card[TIMM], "state_dict": state}
    if not isinstance(card, dict) or not isinstance(card.get("config"), dict):
        raise UserError(f"{folder / CARD} does not say what model it is; it has no `config`")
    named = {PREFIX + name: value for name, value in state.items()}
    return {CONFIG: card["config"], "state_dict": named}


def _unpacked(path: Path) -> int:
    """Bytes in an archive; torch compresses nothing, so in its archives they are in the file."""
    with ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _tensors(state: Mapping[Any, Any]) -> list[tuple[str, Tensor]]:
    return [(k, v) for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)]


def _require_room(path: Path, loaded: Mapping[str, Any]) -> None:
    """A view of one number may have any shape, and what is built for it has that shape too."""
    states = [loaded, *(inside for inside in loaded.values() if isinstance(inside, Mapping))]
    tensors = [pair for state in states for pair in _tensors(state)]
    odd = [
        name
        for name, value in tensors
        if value.layout is not torch.strided
        or value.device.type != "cpu"
        or value.is_quantized
        or value.is_nested
    ]
    if odd:
        raise UserError(
            f"{path} has weights that are sparse, quantised or without values: {listing(odd)}"
        )
    claimed, size = sum(value.numel() for _, value in tensors), path.stat().st_size
    # Some layouts name each block twice, and a number takes a byte at least.
    if claimed > max(2 * size, _MOST_SMALL):
        raise UserError(f"{path} claims to hold {claimed} numbers in {size} bytes; do not trust it")


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = listing(f"{type(error).__name__}: {error}".splitlines()[:1])
    if isinstance(error, UnpicklingError):  # whose text is advice that must not be followed
        reason = "it holds other objects than weights; save a state_dict"
    if isinstance(error, EOFError | KeyError):  # which say nothing
        reason = "it is no file of torch"
    if path.is_file() and path.stat().st_size == 0:
        reason = "it is empty"
    return UserError(f"{path} cannot be read as a checkpoint ({reason}); is it complete?")

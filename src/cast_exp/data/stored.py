"""Files of tensors that know what they were computed from."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cast_exp.ops.files import atomic_write

log = logging.getLogger(__name__)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write a safetensors file of tensors and the key of what they were made from, atomically."""
    with atomic_write(path) as new:
        save_file(dict(tensors), new, {"key": key})


def load_tensors(path: Path, key: str, names: Sequence[str]) -> dict[str, Tensor] | None:
    """Read tensors from a file, if it is there and they were made from the same."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return {name: file.get_tensor(name) for name in names}
        log.warning("%s is of another backbone or other data; not used", path)
    except FileNotFoundError:
        pass
    except SafetensorError as error:
        log.warning("%s cannot be read (%s); not used", path, error)
    return None

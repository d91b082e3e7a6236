"""Outputs that appear whole or not at all, and a record of how they were made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cast_exp.errors import UserError
from cast_exp.output.files import atomic_write, write_json


class Outputs:
    """Files of one task for one picture.

    The record `<task>.settings.json` is written last. It lists the files and says how they were
    made, so that a later run knows whether they are what it would make again.

    Args:
        folder: Where the files are.
        task: What they are outputs of.
    """

    def __init__(self, folder: Path, task: str) -> None:
        self.folder = folder
        self.record = folder / f"{task}.settings.json"

    def made_with(self, settings: Mapping[str, Any]) -> bool:
        """Whether all outputs are there and were made with these settings."""
        record = self._recorded()
        files = record.pop("files", [])
        return record == settings and all((self.folder / name).is_file() for name in files)

    def write(self, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> None:
        """Write all outputs, and take away what other settings made.

        Args:
            files: Contents by name.
            settings: How they were made, as plain values.

        Raises:
            UserError: The folder cannot be written to.
        """
        try:
            former = self._recorded().get("files", [])
            self.record.unlink(missing_ok=True)
            for name in former:
                if name not in files:
                    (self.folder / name).unlink(missing_ok=True)
            for name, content in files.items():
                with atomic_write(self.folder / name) as new:
                    new.write_bytes(content)
            write_json(self.record, {**settings, "files": list(files)})
        except OSError as error:
            raise UserError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    def _recorded(self) -> dict[str, Any]:
        try:
            record = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode RGB or RGBA (H, W, C) or a map (H, W) as PNG, 8 or 16 bits as it comes."""
    return _encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def jpeg(pixels: NDArray[np.uint8], quality: int = 85) -> bytes:
    """Encode RGB (H, W, 3) as JPEG."""
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(suffix: str, pixels: NDArray[Any], options: list[int]) -> bytes:
    if pixels.ndim == 3:  # OpenCV wants blue first, and alpha last
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    assert done
    return encoded.tobytes()


def compact_json(header: Mapping[str, Any], name: str, rows: list[dict[str, Any]]) -> bytes:
    """JSON with one line for each entry of a header and each row of a list."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in header.items()]
    body = ",\n".join(json.dumps(row) for row in rows)
    return f"{{\n{''.join(lines)}{json.dumps(name)}: [\n{body}\n]\n}}\n".encode()

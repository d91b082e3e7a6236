"""How Lightning writes checkpoints: beside the former file, which stays until the new one reads."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from cast_exp.checkpoints.files import require_whole
from cast_exp.output.files import atomic_write


class CheckpointIO(TorchCheckpointIO):
    """Lightning's own, but a file that is there is not lost to a kill, a crash or a full disk.

    Lightning writes to the temporary folder and moves the file, which across file systems is a copy
    over the former one. Here the file is written in the folder that it is for and read back before
    it takes the place of the former one; see `cast_exp.output.files`. What is addressed
    by a URL is left to Lightning.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint.

        Raises:
            UserError: The disk is full.
            ValueError: What was written cannot be read back.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(Path(path)) as new:
            with open(new, "wb") as file:  # torch hides the error number if it opens the file
                torch.save(checkpoint, file)
            require_whole(new)

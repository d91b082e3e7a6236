from importlib.util import find_spec
from pathlib import Path

import pytest

from cast_exp.loggers import tensorboard_logger


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_files_go_to_a_folder_of_the_run(tmp_path: Path) -> None:
    logger = tensorboard_logger(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=3)
    logger.finalize("success")
    (file,) = tmp_path.rglob("events.out.*")
    assert file.parent == tmp_path / "tensorboard"
    assert b"loss" in file.read_bytes()

from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.loggers import tensorboard_logger, wandb_logger


@pytest.mark.parametrize("make", [wandb_logger, tensorboard_logger])
def test_a_missing_package_is_named(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cast_exp.loggers.needs.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[(wandb|tensorboard)\]'"):
        make(tmp_path)

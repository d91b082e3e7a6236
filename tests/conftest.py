"""What all tests share.

One thread for each test process: the suite runs in parallel and its tensors are small. The reader
of YAML that is written in C, where there is one: hundreds of commands are composed. The garbage
collector passes over what imports have made, about a million objects. Parts of tests may be built
by name. And Ctrl-C and SIGHUP reach what tests start, also in a suite that runs in the background
or under nohup, which turn them off, and after a test of Lightning's trainer, which ignores Ctrl-C
from the first on.
"""

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from support.browser import chromium
from support.commands import ROOT
from support.kernels import Interpreted, interpreter

from cast_exp import plugins

_LEFT_BY_COMMANDS = {"__pycache__", "build", "dist", "runs", "site", "wandb"}

torch.set_num_threads(1)
plugins.allow("support", "tests", *plugins.LIGHTNING)
if yaml.__with_libyaml__:
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc]


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or nanobind takes all that is left at the exit for leaks


@pytest.fixture(autouse=True)
def _signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """No test leaves anything in the repository; with several processes it may be another's.

    But for what commands leave there that a user may run beside the tests.
    """
    before = set(os.listdir(ROOT))
    yield
    left = {name for name in set(os.listdir(ROOT)) - before if not name.startswith(".")}
    assert not left - _LEFT_BY_COMMANDS, "left in the repository"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def interpreted() -> Iterator[Interpreted]:
    """Triton's interpreter: ``interpreted(function, *arguments)``."""
    pytest.importorskip("triton")
    with interpreter() as started:
        yield started


@pytest.fixture
def triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are compiled anew."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Commands that run in this process turn their log on; it is off again for the next test."""
    level = logging.getLogger("cast_exp").level
    yield
    logging.getLogger("cast_exp").setLevel(level)
    for handler in [*logging.root.handlers]:
        if type(handler) is logging.StreamHandler:  # not pytest's, which are of other kinds
            logging.root.removeHandler(handler)


@pytest.fixture(scope="session")
def image_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny image-text model."""
    from support.image_text import image_text_folder  # its library takes seconds to import

    return image_text_folder(tmp_path_factory.mktemp("image_text") / "model")


def write_image(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    """A JPEG or PNG with smooth random colours, different for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``{train,val}/<class>/*.jpg`` with 3 classes of 8 training and 3 validation images."""
    for split, count in (("train", 8), ("val", 3)):
        for label, name in enumerate(("bee", "ant", "cat")):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.jpg", 100 * label + i)
    return tmp_path

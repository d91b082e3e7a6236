"""What tests of strangers' files share."""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cast_exp.checkpoints import load_pretrained
from cast_exp.errors import UserError

TOO_MUCH = 300 * 2**20


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Nothing may be allocated that is larger than `TOO_MUCH` (address space included)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + TOO_MUCH
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Loads what must be refused, and returns why."""

    def refused(path: Path, load: Callable[..., Any] = load_pretrained, **options: Any) -> str:
        began = time.process_time()
        with pytest.raises(UserError) as error:
            load(path, **options)
        assert time.process_time() - began < 2
        message = str(error.value)
        assert message.isprintable()  # and so one line
        assert len(message) < 4000
        return message

    return refused

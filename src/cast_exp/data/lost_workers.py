"""What to say when a worker of a loader dies, or cannot hand over what it has made."""

import errno
import re
import shutil
from pathlib import Path
from signal import Signals
from typing import Any

from cast_exp.data.loader import WORKERS

_DEATH = re.compile(r"DataLoader worker|Pin memory thread")
_PID = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)")
_SHARED_MEMORY = Path("/dev/shm")
_FEWER = "fewer data.workers, or a smaller data.prefetch or data.batch_size"


def lost_worker(error: BaseException, superpixel: str = "") -> str | None:
    """What has become of a worker and what to do about it; None for an error of another kind.

    Args:
        error: What the main process was told, by torch.
        superpixel: Class of the superpixel method, which runs in the workers.
    """
    text = str(error)
    if getattr(error, "errno", None) == errno.EMFILE or "Too many open files" in text:
        return (
            "too many files are open; workers hand batches over as open files: raise the limit "
            f"(ulimit -n 65536), or set {_FEWER}"
        )
    if "allocate shared memory" in text or "out of shared memory" in text:
        return _shared_memory()
    if not _DEATH.search(text):
        return None
    code = next((process.exitcode for process in _dead(text)), None) or 0
    if code >= 0:
        return f"a worker of the loader has ended by itself (code {code}); data.workers=0 shows why"
    name = Signals(-code).name
    if name == "SIGBUS":
        return _shared_memory()
    if name == "SIGKILL":
        return (
            "a worker of the loader was killed (SIGKILL), most often since the machine, container "
            f"or job has run out of memory: give it more, or set {_FEWER}"
        )
    # Of the libraries that run there, OpenCV and Pillow have millions of users, fast-slic few.
    suspect = f" {superpixel} superpixels are made there: try superpixel=slic." * bool(superpixel)
    return (
        f"a worker of the loader has crashed ({name}), in a compiled library.{suspect} "
        "PYTHONFAULTHANDLER=1 tells where"
    )


def _dead(text: str) -> list[Any]:
    """The workers that an error names, or any, that have ended badly."""
    pids = set(map(int, _PID.findall(text)))
    return [p for p in WORKERS if p.exitcode and (p.pid in pids or not pids)]


def _shared_memory() -> str:
    size = ""
    if _SHARED_MEMORY.is_dir():
        size = f" ({shutil.disk_usage(_SHARED_MEMORY).total / 2**30:.2g} GiB)"
    return (
        f"the shared memory {_SHARED_MEMORY}{size} is too small for the batches of the workers: "
        f"make it larger (docker run --shm-size=16g), or set {_FEWER}; data.workers=0 needs none"
    )

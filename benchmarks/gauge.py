"""Speed, memory, launches, waits and compilations of equal steps, on a GPU or on the CPU."""

import time
import warnings
from contextlib import ExitStack

import torch
from torch._C._autograd import DeviceType
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile


class Gauge:
    """Measures steps that say when they begin and end.

    After some to warm up come those that are timed as one. On CUDA two more follow: in one torch
    warns of what makes the host wait for the device, and one is profiled.

    Attributes:
        total: How many steps to make.
        figures: What was found: "ms" of a step; "breaks" of graphs while compiling, "recompiled"
            graphs after the warm-up. On CUDA: "gib", the most memory of tensors; "waits" of a step
            for the device; "launches" of kernels and "busy_ms" of the device.
    """

    def __init__(self, device: str, warmup: int, timed: int) -> None:
        self.cuda = device == "cuda"
        self.warmup, self.timed = warmup, timed
        self.total = warmup + timed + 2 * self.cuda
        self.figures: dict[str, float] = {}
        self._step = 0
        self._start = 0.0
        self._graphs = 0
        self._profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self._warned: list[warnings.WarningMessage] = []
        self._watch = ExitStack()
        torch._dynamo.reset()
        counters.clear()

    def begin(self) -> None:
        """A step begins."""
        if self._step == self.warmup:
            self._graphs = counters["stats"]["unique_graphs"]
            if self.cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            self._start = time.perf_counter()
        elif self._step == self.warmup + self.timed:
            self._warned = self._watch.enter_context(warnings.catch_warnings(record=True)) or []
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        elif self._step == self.warmup + self.timed + 1:
            torch.cuda.synchronize()
            self._profile.start()

    def end(self) -> None:
        """It ends."""
        if self._step == self.warmup + self.timed - 1:
            if self.cuda:
                torch.cuda.synchronize()
                self.figures["gib"] = torch.cuda.max_memory_allocated() / 2**30
            self.figures["ms"] = 1e3 * (time.perf_counter() - self._start) / self.timed
            if self._graphs:
                self.figures["breaks"] = sum(counters["graph_break"].values())
                self.figures["recompiled"] = counters["stats"]["unique_graphs"] - self._graphs
        elif self._step == self.warmup + self.timed:
            torch.cuda.set_sync_debug_mode("default")
            self._watch.close()
            waits = [w for w in self._warned if "synchronizing CUDA operation" in str(w.message)]
            self.figures["waits"] = len(waits)
        elif self._step == self.warmup + self.timed + 1:
            torch.cuda.synchronize()
            self._profile.stop()
            events = self._profile.events() or []  # type: ignore[no-untyped-call]
            # Those of the runtime and of the driver: cudaLaunchKernel, cuLaunchKernelEx, ...
            launches = [e for e in events if e.name.startswith("cu") and "Launch" in e.name]
            on_device = [e for e in events if e.device_type == DeviceType.CUDA]
            work = [e.time_range.elapsed_us() for e in on_device if not e.is_user_annotation]
            self.figures |= {"launches": len(launches), "busy_ms": sum(work) / 1e3}
        self._step += 1

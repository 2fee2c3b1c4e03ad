"""What a measurement ran on, and who else was busy."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from pycroclass.writers.record import versions

_TICK = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, threads, versions."""
    return {
        "name": name(),
        "processor": _processor(),
        "cores": n_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.release()}",
        "torch_threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "versions": {"python": platform.python_version(), **versions()},
    }


def name() -> str:
    """Short, for file names."""
    words = [_processor(), f"{n_cores()}cores"]
    if torch.cuda.is_available():
        words.append(torch.cuda.get_device_name())
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def n_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """Mean number of runnable processes in the last minute."""
    return os.getloadavg()[0]


def busy_seconds() -> float:
    """Of all cores and all processes since the start of the machine."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / _TICK


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found.group(1).split(" with ")[0].strip() if found else platform.machine()

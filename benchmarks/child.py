"""One case in a process of its own: sets up once, then does one timed repeat for each line that it is sent.

Standard library only, because it runs in the environments of the peers, too. Requests and answers are JSON lines on stdin and stdout;
whatever the libraries print goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """Read ``{"way": "module:function", "parameters": {…}}``, then one line for each repeat."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    module, function = request["way"].split(":")
    try:
        work = getattr(importlib.import_module(f"benchmarks.ways.{module}"), function)(**request["parameters"])
        answers.write(json.dumps({"ready": True}) + "\n")
        for _ in sys.stdin:
            answers.write(json.dumps(repeat(work)) + "\n")
    except Exception as error:  # noqa: BLE001  # whatever a peer raises is the result
        traceback.print_exc()
        answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}) + "\n")


def repeat(work: Any) -> dict[str, Any]:
    """Seconds on the clock, seconds of all cores, peak memory in bytes, and what the work says about its result."""
    _forget_peak()
    cpu, start = _cpu_seconds(), time.perf_counter()
    check = work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu": _cpu_seconds() - cpu, "peak": sum(map(_peak, _family())), "check": check}


def _family() -> list[int]:
    """This process and all that descend from it."""
    found, open_ = [], [os.getpid()]
    while open_:
        pid = open_.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                open_ += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _cpu_seconds() -> float:
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    for pid in _family()[1:]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / _TICK
    return total


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _forget_peak() -> None:
    for pid in _family():
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


if __name__ == "__main__":
    serve()

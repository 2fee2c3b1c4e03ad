"""Environments of the peers, made on demand from ``peers/<name>.txt``; none is ever a dependency of the package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

CACHE = Path(os.environ.get("PYCROCLASS_BENCH_CACHE", Path.home() / ".cache" / "pycroclass-bench"))
"""Where environments and data lie."""
ROOT = Path(__file__).parent.parent
_PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 900


class MissingPeerError(Exception):
    """A peer that cannot be measured here, and why."""


@cache
def python_of(peer: str) -> str:
    """The Python that has this peer; without a name, the one that runs now.

    Raises
    ------
    MissingPeerError
        If it cannot be installed.
    """
    if not peer:
        return sys.executable
    requirements = _PEERS / f"{peer}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:8]
    folder = CACHE / "environments" / f"{peer}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {peer} into {folder}", flush=True)
        _call([sys.executable, "-m", "venv", str(folder)], peer)
        _call([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)], peer)
        (folder / "installed").touch()
    return str(python)


def _call(command: list[str], peer: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MissingPeerError(f"{peer} could not be installed: not done after {_INSTALL_SECONDS} s") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingPeerError(f"{peer} could not be installed: {reason}")

"""Measures cases side by side: each in a process of its own, one repeat of each in turn, medians, and ratios within each turn."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmarks import machine
from benchmarks.environments import ROOT, MissingPeerError, python_of

_SETUP_SECONDS = 300
_REPEAT_SECONDS = 300
DISTURBED = 0.25
"""Cores that others may use, in the median over all repeats, before a result is marked."""


@dataclass(frozen=True)
class Case:
    """One way to do the work.

    Parameters
    ----------
    name : str
    way : str
        ``module:function`` in `benchmarks.ways`; it sets up and returns the call to be timed.
    parameters : mapping
        JSON-ready.
    role : {"ours", "peer", "limit"}
        The limits of a group are parts of the work, measured alone.
    peer : str
        Whose environment it runs in; "" is that of the package.
    """

    name: str
    way: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    role: Literal["ours", "peer", "limit"] = "peer"
    peer: str = ""


@dataclass(frozen=True)
class Group:
    """Cases that do the same work.

    Parameters
    ----------
    name : str
    amount : float
        Work in one repeat, in ``unit``.
    unit : str
        Such as "image" or "GB".
    limit : {"sum", "max"}
        Whether the parts that limit the work share the cores, or run beside each other.
    tolerance : float, optional
        Relative; how far the results of the cases may differ. None: they are not comparable.
    repeats : int, optional
        Instead of what is asked for, where one repeat takes long.
    """

    name: str
    amount: float
    unit: str
    cases: tuple[Case, ...]
    limit: Literal["sum", "max"] = "sum"
    tolerance: float | None = 1e-5
    repeats: int | None = None


class Process:
    """A case that is set up in a process of its own."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._process = subprocess.Popen(
            [python_of(case.peer), "-W", "ignore", "-m", "benchmarks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        self._send({"way": case.way, "parameters": dict(case.parameters)})

    def wait(self) -> None:
        """Until it is set up."""
        self._answer(_SETUP_SECONDS)

    def repeat(self) -> dict[str, Any]:
        """One timed repeat, and how many cores others used meanwhile."""
        busy = machine.busy_seconds()
        self._send({})
        answer = self._answer(_REPEAT_SECONDS)
        busy = machine.busy_seconds() - busy
        return {**answer, "foreign": max(0.0, busy - answer["cpu"]) / max(answer["seconds"], 0.05)}

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._errors.close()

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise MissingPeerError(f"failed: {self._last_words()}") from None

    def _answer(self, seconds: float) -> dict[str, Any]:
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise MissingPeerError(f"failed: no answer after {seconds} s")
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            raise MissingPeerError(f"failed: {answer['error']}")
        return dict(answer)

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {self._process.poll()} without a word"


def measure(group: Group, repeats: int) -> dict[str, Any]:
    """All cases of a group, interleaved, after one turn that warms up and compares their results."""
    load = machine.load()
    repeats = group.repeats or repeats
    missing: dict[str, str] = {}
    turns: list[dict[str, dict[str, Any]]] = []
    with _started(group.cases, missing) as processes:
        for turn in range(repeats + 1):
            order = processes[turn % len(processes) :] + processes[: turn % len(processes)] if processes else []
            results = {}
            for process in order:
                if process.case.name not in missing:
                    with _noting(process.case.name, missing):
                        results[process.case.name] = process.repeat()
            turns.append(results)
    _compare(group, turns[0], missing)
    counted = [{name: answer for name, answer in turn.items() if name not in missing} for turn in turns[1:]]
    foreign = statistics.median([a["foreign"] for turn in counted for a in turn.values()] or [0.0])
    return {
        "name": group.name,
        "unit": group.unit,
        "amount": group.amount,
        "limit": group.limit,
        "repeats": repeats,
        "load": [load, machine.load()],
        "foreign_cores": round(foreign, 2),
        "disturbed": foreign > DISTURBED,
        "of_limit": _of_limit(group, counted, missing),
        "cases": [_summary(case, group, counted, missing) for case in group.cases],
    }


@contextlib.contextmanager
def _started(cases: Sequence[Case], missing: dict[str, str]) -> Iterator[list[Process]]:
    with contextlib.ExitStack() as stack:
        processes = []
        for case in cases:
            with _noting(case.name, missing):
                process = Process(case)
                stack.callback(process.close)
                process.wait()  # one at a time: some find out what is fastest meanwhile
                processes.append(process)
        yield processes


@contextlib.contextmanager
def _noting(name: str, missing: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except MissingPeerError as error:
        missing[name] = str(error)


def _compare(group: Group, first: Mapping[str, dict[str, Any]], missing: dict[str, str]) -> None:
    """A case whose result is not ours is not measured but named."""
    ours = _ours(group)
    if group.tolerance is None or ours not in first:
        return
    expected = np.asarray(first[ours]["check"], np.float64)
    for case in group.cases:
        if case.role != "limit" and case.name in first:
            found = np.asarray(first[case.name]["check"], np.float64)
            if found.shape != expected.shape or not np.allclose(found, expected, rtol=group.tolerance, atol=0):
                missing[case.name] = f"gives another result: {found.ravel()[:3]} against {expected.ravel()[:3]}"


def _summary(case: Case, group: Group, turns: Sequence[Mapping[str, dict[str, Any]]], missing: Mapping[str, str]) -> dict[str, Any]:
    kept = {"name": case.name, "role": case.role, "peer": case.peer}
    if case.name in missing:
        return {**kept, "missing": missing[case.name]}
    answers = [turn[case.name] for turn in turns]
    seconds = [answer["seconds"] for answer in answers]
    return {
        **kept,
        "seconds": seconds,
        "median": statistics.median(seconds),
        "low": min(seconds),
        "high": max(seconds),
        "rate": group.amount / statistics.median(seconds),
        "busy_cores": round(statistics.median(answer["cpu"] / answer["seconds"] for answer in answers), 2),
        "peak_mb": round(max(answer["peak"] for answer in answers) / 1e6),
        "ratio": None if _ours(group) in missing else spread([t[case.name]["seconds"] / t[_ours(group)]["seconds"] for t in turns]),
    }


def _of_limit(group: Group, turns: Sequence[Mapping[str, dict[str, Any]]], missing: Mapping[str, str]) -> dict[str, float] | None:
    """What part of the limit our case reaches, turn by turn."""
    limits = [case.name for case in group.cases if case.role == "limit"]
    ours = _ours(group)
    if not limits or any(name in missing for name in (ours, *limits)):
        return None
    combine = sum if group.limit == "sum" else max
    return spread([combine(turn[name]["seconds"] for name in limits) / turn[ours]["seconds"] for turn in turns])


def _ours(group: Group) -> str:
    return next(case.name for case in group.cases if case.role == "ours")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}

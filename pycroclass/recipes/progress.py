"""How a batch tells what it does: to a person, to a log, or to a machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from pycroclass.estimators.session import Progress as TrainingProgress
from pycroclass.recipes.batch import Advanced, Event, Failed, Finished, Started, Summary, kept
from pycroclass.recipes.class_counts import Counts

AGAIN: Final = "run the same command again to go on"
_ONE: Final = {"frames": "frame", "spectra": "spectrum", "values": "value"}
_LINE_EVERY: Final = 60.0
_JSON_EVERY: Final = 1.0


class Reporter(Protocol):
    """Takes the events of a batch."""

    def __call__(self, event: Event) -> None:
        """One event."""

    def close(self, summary: Summary) -> None:
        """What became of all."""


class Spoken:
    """Lines for a person: a bar where there is a terminal, else a line each minute.

    Parameters
    ----------
    out, err : Console
    is_quiet : bool
        Say nothing but errors and what is left to do.
    """

    def __init__(self, out: Console, err: Console, *, is_quiet: bool) -> None:
        self._out = out
        self._err = err
        self._is_quiet = is_quiet
        self._bars = _bars(err)
        self._has_bar = err.is_terminal and not is_quiet
        self._bar: TaskID | None = None
        self._next_line = time.monotonic() + _LINE_EVERY

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._next_line = time.monotonic() + _LINE_EVERY
                if self._has_bar:
                    self._bars.start()
                    self._bar = self._bars.add_task(f"{event.job.file} ▸ {event.dataset}", total=None, state="")
            case Advanced() if self._bar is not None:
                self._bars.update(self._bar, completed=event.done, total=event.total, state=_state(event))
            case Advanced() if not self._is_quiet and not self._has_bar and time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _LINE_EVERY
                self._say(self._err, f"{event.started.job.file}: {_state(event)}")
            case Finished():
                self._end_bar()
                if not self._is_quiet:
                    self._say(self._out, _outcome(event))
            case Failed():
                self._end_bar()
                self._complain(event)

    def close(self, summary: Summary) -> None:
        """List what did not succeed."""
        self._end_bar()
        n_files = len(summary.finished) + len(summary.failed) + len(summary.not_tried)
        if n_files > 1 and (summary.failed or summary.not_tried):
            self._say(self._err, f"{len(summary.finished)} of {n_files} files done")
            for failed in summary.failed:
                self._say(self._err, f"  failed     {failed.job.file}: {type(failed.error).__name__}")
            for job in summary.not_tried:
                self._say(self._err, f"  not done   {job.file}")
        for partial in _kept(summary):
            self._say(self._err, f"  kept       {partial}")
        if summary.signal is not None:
            self._say(self._err, f"stopped; {AGAIN}")

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bars.stop()
            self._bar = None

    def _complain(self, failed: Failed) -> None:
        self._err.print(f"[bold red]error[/] {type(failed.error).__name__}: ", end="")
        self._say(self._err, " ".join(str(failed.error).split()))

    @staticmethod
    def _say(console: Console, line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class TrainingBar:
    """How far a training is: a bar for the epoch in hand where there is a terminal, else a line each minute.

    Parameters
    ----------
    err : Console
    is_quiet : bool
        Say nothing.
    """

    def __init__(self, err: Console, *, is_quiet: bool) -> None:
        self._err = err
        self._has_bar = err.is_terminal and not is_quiet
        self._has_lines = not err.is_terminal and not is_quiet
        self._bars = _bars(err)
        self._bar = self._bars.add_task("reading", total=None, state="")
        self._result = ""
        self._next_line = time.monotonic() + _LINE_EVERY

    def __enter__(self) -> Self:
        if self._has_bar:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_bar:  # one that was not begun would leave an empty line
            self._bars.stop()

    def __call__(self, progress: TrainingProgress) -> None:
        """Show it."""
        epoch = f"epoch {progress.epoch} of {progress.n_epochs}"
        result = "" if progress.result is None else _result(progress.result)
        if self._has_bar:
            self._result = result or self._result
            self._bars.update(self._bar, description=epoch, completed=progress.n_done, total=progress.n_items, state=self._result)
        elif self._has_lines and result and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY
            self._err.print(f"{epoch}: {result}", markup=False, highlight=False, soft_wrap=True)


class JsonLines:
    """One JSON object on each line, progress at most once a second."""

    def __init__(self, out: Console) -> None:
        self._file = out.file
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                about = {"dataset": event.dataset, "shape": event.shape, "items": event.n_items, "noun": event.noun}
                self._write("file_started", _paths(event), about)
            case Advanced() if time.monotonic() >= self._next:
                self._next = time.monotonic() + _JSON_EVERY
                about = {"done": event.done, "total": event.total, "items": event.n_items, "counts": event.counts}
                self._write("progress", _paths(event.started), {**about, **_rates(event)})
            case Finished():
                about = {"already_done": not event.is_new, "resumed_blocks": event.resumed, "shapes": event.shapes}
                self._write(
                    "file_finished",
                    _paths(event.started),
                    {
                        **about,
                        "items": event.started.n_items,
                        "seconds": event.seconds,
                        "counts": event.counts,
                        "precision": event.precision,
                    },
                )
            case Failed():
                self._write("file_failed", _paths(event), {"error": type(event.error).__name__, "message": str(event.error)})

    def close(self, summary: Summary) -> None:
        """The last line."""
        about = {
            "finished": [str(done.started.job.output) for done in summary.finished],
            "failed": [failed.job.file for failed in summary.failed],
            "not_tried": [job.file for job in summary.not_tried],
            "kept": _kept(summary),
            "signal": summary.signal,
            "exit_code": summary.exit_code,
        }
        self._write("summary", about)

    def _write(self, name: str, *parts: Mapping[str, Any]) -> None:
        line = {"event": name}
        for part in parts:
            line |= part
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _kept(summary: Summary) -> list[str]:
    unfinished = [*(failed.job for failed in summary.failed), *summary.not_tried]
    return [str(partial) for job in unfinished if (partial := kept(job)) is not None]


def _result(epoch: Mapping[str, Any]) -> str:
    return f"validation loss {epoch['validation_loss']:.4f}, balanced accuracy {epoch['balanced_accuracy']:.4f}"


def _paths(event: Started | Failed) -> dict[str, str]:
    return {"file": event.job.file, "output": str(event.job.output)}


def _rates(event: Advanced) -> dict[str, float]:
    return {"seconds": event.seconds, "items_per_second": event.rate, "seconds_left": event.seconds_left}


def _outcome(event: Finished) -> str:
    output = event.started.job.output
    if not event.is_new:
        return f"{output}: already done by this very run; to compute it again remove it"
    shapes = ", ".join(f"{name} {shape}" for name, shape in event.shapes.items())
    pace = f"{_items(event.started)} in {event.seconds:.1f} s"
    number_type = "" if event.precision == "float32" else f"computed in {event.precision}"
    resumed = f"{event.resumed} of {event.total} blocks {'was' if event.resumed == 1 else 'were'} done already" if event.resumed else ""
    return "; ".join(filter(None, (f"{output}: {shapes}", pace, resumed, _counts(event.counts), number_type)))


def _items(started: Started) -> str:
    noun = started.noun if started.n_items != 1 else _ONE.get(started.noun, started.noun)
    return f"{started.n_items} {noun}"


def _state(event: Advanced) -> str:
    minutes, seconds = divmod(round(event.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    pace = f"{event.n_items}/{_items(event.started)}, {event.rate:.3g}/s, {hours}:{minutes:02}:{seconds:02} left"
    return "; ".join(filter(None, (pace, _counts(event.counts))))


def _counts(counts: Counts) -> str:
    most = 6
    parts = []
    for name, numbers in counts.items():
        shown = ", ".join(f"{label} {n}" for label, n in sorted(numbers.items(), key=lambda pair: -pair[1])[:most])
        parts.append(f"{name}: {shown}" + (f", {len(numbers) - most} more classes" if len(numbers) > most else ""))
    return "; ".join(parts)


def _bars(err: Console) -> Progress:
    """A bar between what is done and its state, that goes when all is done."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=err,
        transient=True,
    )

"""The curve of a training, written as it grows."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycroclass.errors import WriteError
from pycroclass.files import write_whole


class HistoryLog:
    """``history.csv`` in a folder, and events for TensorBoard where that is installed.

    Parameters
    ----------
    folder : path
        Is made.
    n_before : int
        Epochs that were done by earlier runs of the same training.

    Raises
    ------
    WriteError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path, *, n_before: int = 0) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"cannot make the folder {folder}: {error.strerror}") from error
        self._path = folder / "history.csv"
        self._board: Any = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder), purge_step=n_before + 1)

    def write(self, history: Sequence[Mapping[str, Any]]) -> None:
        """All epochs so far, the last of them new."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
        table.writeheader()
        table.writerows(history)
        write_whole(self._path, text.getvalue().encode())
        if self._board is not None:
            for name, value in history[-1].items():
                if name != "epoch":
                    self._board.add_scalar(name, value, history[-1]["epoch"])
            self._board.flush()

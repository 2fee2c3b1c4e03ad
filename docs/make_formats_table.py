"""Write docs/reference/formats.md: every format, and what the readers find in real files of them.

python docs/make_formats_table.py            from the table of formats and the last measurement
python docs/make_formats_table.py FOLDER     measure the files in FOLDER anew
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import sidpy

from pycroclass.errors import ReadError
from pycroclass.readers import read
from pycroclass.readers.formats import BUILT_IN, Format

REFERENCE = Path(__file__).parent / "reference"
MEASURED = REFERENCE / "native_files.csv"
COLUMNS = ("file", "datasets", "key", "shape", "dtype", "units", "axes", "error")

INTRODUCTION = """# File formats

Made by `docs/make_formats_table.py`. `read(path)` tells the format of a file by its content and its name; `format="name"`
names it. Formats with an extra need `pip install 'pycroclass[extra]'`. *Lazy*: only what is used is read. *Whole*: the file
is loaded once in each process, through SciFiReaders.
"""
FILES = """
## Real files

What is found in the instrument files of [SciFiDatasets](https://github.com/pycroscopy/SciFiDatasets) (MIT): of each file one
dataset of each kind. A file without datasets is one that SciFiReaders cannot read; its error stands in the last column.
"""


def measure(folder: Path) -> Iterator[tuple[str, ...]]:
    """One row for each kind of dataset in each file of a known format."""
    for path in sorted(folder.iterdir()):
        if not any(known.matches_name(path.name) for known in BUILT_IN):
            continue
        try:
            datasets = read(path)
        except ReadError as error:
            yield (path.name, "0", "", "", "", "", "", type(error.__cause__).__name__)
            continue
        kinds: dict[tuple[str, ...], str] = {}
        for key, dataset in datasets.items():
            kinds.setdefault(kind(dataset), key)
        for row, key in kinds.items():
            yield (path.name, str(len(datasets)), key, *row, "")


def kind(dataset: sidpy.Dataset) -> tuple[str, str, str, str]:
    """Shape, dtype, units and axes of a dataset as text."""
    axes = (f"{a.name} ({a.dimension_type.name.lower()}, {a.units})" for a in dataset._axes.values())
    return "×".join(map(str, dataset.shape)), str(dataset.dtype), dataset.units, ", ".join(axes)


def format_row(known: Format) -> tuple[str, ...]:
    is_whole = known.module.endswith("scifireaders")
    return (known.name, " ".join(known.extensions), known.description, "whole" if is_whole else "lazy", known.extra or "")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), ["---"] * len(list(header)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> None:
    if arguments:
        with MEASURED.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *measure(Path(arguments[0]))])
    with MEASURED.open(newline="") as file:
        _, *measured = csv.reader(file)
    formats = table(("format", "files", "what", "reading", "extra"), map(format_row, BUILT_IN))
    (REFERENCE / "formats.md").write_text(f"{INTRODUCTION}\n{formats}{FILES}\n{table(COLUMNS, measured)}")


if __name__ == "__main__":
    main(sys.argv[1:])

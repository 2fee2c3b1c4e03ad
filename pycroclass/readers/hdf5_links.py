"""Where the other files lie that an HDF5 file is made of: those that its links and its virtual datasets name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from pycroclass.readers.failure import failure


def linked_file(path: Path, name: str) -> Path:
    """The file that a link in ``path`` names: as it says, or of that name in the same folder.

    Raises
    ------
    ReadError
        If there is none.
    """
    folder = path.absolute().parent
    return _first(path, name, (folder / name, path.resolve().parent / name, folder / Path(name).name))


def virtual_sources(path: Path, dataset: h5py.Dataset) -> dict[Path, set[str]]:
    """The files whose values a virtual dataset of ``path`` gives, each with the names of the datasets that it needs.

    Only where HDF5 looks for them too: for what it does not find, it gives zeros and no error.

    Raises
    ------
    ReadError
        If one is missing.
    """
    found: dict[str, Path] = {".": path.absolute()}
    wanted: dict[Path, set[str]] = {}
    for source in dataset.virtual_sources():
        name = source.file_name
        if name not in found:
            found[name] = _virtual_file(path, _plain(name))
        wanted.setdefault(found[name], set()).add(_plain(source.dset_name))
    return wanted


def escaped(name: str) -> str:
    """A name for the sources of a virtual dataset, where HDF5 takes ``%`` for the beginning of a number."""
    return name.replace("%", "%%")


def _plain(name: str) -> str:
    return name.replace("%%", "%")


def _virtual_file(path: Path, name: str) -> Path:
    folders = (path.absolute().parent, path.resolve().parent)
    moved = [folder / Path(name).name for folder in folders] if Path(name).is_absolute() else []
    return _first(path, name, [*(folder / name for folder in folders), *moved])


def _first(path: Path, name: str, candidates: Sequence[Path]) -> Path:
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise failure(path, f"links to {name}, which is missing", f"Put that file to {candidates[0]}.")

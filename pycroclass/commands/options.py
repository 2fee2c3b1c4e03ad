"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[list[str], typer.Argument(help="Files, folders or globs; FILE.h5::/path names one dataset of an HDF5 file.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="NSID file; a folder for several inputs.")]
Key = Annotated[str | None, typer.Option(help="Dataset of the file, where there are several; see 'pycroclass info'.")]
Size = Annotated[int | None, typer.Option(help="Bring images to this size, in pixels.")]
Fit = Annotated[str | None, typer.Option(help="How images are brought to a size: pad, crop or resize.")]
Geometry = Annotated[
    str | None,
    typer.Option(help="Geometry file of CrystFEL (.geom) for detector frames, instead of what the file says.", show_default=False),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw an unfinished run away and begin anew.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]

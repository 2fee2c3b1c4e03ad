"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Key = Annotated[str | None, typer.Option(help="Dataset of the file, where there are several; see 'pycroclass info'.")]
Size = Annotated[int | None, typer.Option(help="Bring images to this size, in pixels.")]
Fit = Annotated[str | None, typer.Option(help="How images are brought to a size: pad, crop or resize.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]

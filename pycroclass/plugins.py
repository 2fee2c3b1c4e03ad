"""Packages that operators and networks come from, beside pycroclass itself."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Final

from pycroclass.networks import architecture
from pycroclass.operator import Composable

_GROUPS: Final = ("pycroclass.operators", "pycroclass.networks")


def plugin_versions(pipeline: Composable) -> dict[str, str]:
    """Versions of the plug-ins whose code a pipeline runs, by the name of their package."""
    modules = {type(step).__module__ for step in pipeline.steps()}
    modules |= {architecture(step.architecture).builder.__module__ for step in pipeline.steps() if hasattr(step, "architecture")}
    used = {module.partition(".")[0] for module in modules}
    return {name: version for top, (name, version) in _installed().items() if top in used}


@cache
def _installed() -> dict[str, tuple[str, str]]:
    """Name and version of each installed plug-in, by its module."""
    found = (plugin for group in _GROUPS for plugin in entry_points(group=group))
    return {plugin.module.partition(".")[0]: (plugin.dist.name, plugin.dist.version) for plugin in found if plugin.dist is not None}

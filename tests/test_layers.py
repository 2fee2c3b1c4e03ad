"""The import rule: a module imports only from layers below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pycroclass"
LAYERS = [
    {"_version", "errors", "profile", "threads"},
    {"geometry", "metadata_json", "array_value", "files", "stratified"},
    {"spec", "provenance"},
    {"operator"},
    {"source", "device"},
    {"serialize", "reduction", "item_spec"},
    {"networks", "augmentation", "kernels"},
    {"operators", "stage"},
    {"estimators", "engine", "bundle", "transfer"},
    {"passes", "sid", "per_item", "data_record", "plugins", "placement"},
    {"summaries", "precision", "cluster", "worker_device", "readers", "writers", "crystfel", "dragonfly"},
    {"api", "exploring", "simulate", "splitting", "leakage"},
    {"training", "replay", "pictures", "evaluation"},
    {"selection", "hits"},
    {"embedding", "reporting", "recipes", "demo"},
    {"commands"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
RIM_ONLY = {"sidpy", "h5py"}
RIM = {
    "sid",
    "exploring",
    "per_item",
    "data_record",
    "precision",
    "readers",
    "writers",
    "api",
    "simulate",
    "training",
    "evaluation",
    "replay",
    "recipes",
    "pictures",
    "demo",
    "commands",
} | {
    "embedding",
    "splitting",
    "leakage",
    "reporting",
    "placement",
    "crystfel",
    "dragonfly",
    "selection",
    "hits",
}
DASK = {"source", "engine", "passes", "summaries", "cluster", "worker_device"} | RIM
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Modules imported at the top of a file, outside ``if TYPE_CHECKING``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"pycroclass.{alias.name}" for alias in node.names} if node.module == "pycroclass" else {node.module}
    return found


def test_every_module_has_a_layer() -> None:
    assert {layer(path) for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    mine = layer(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "pycroclass" and rest:
            theirs = rest.split(".")[0]
            assert theirs == mine or LEVEL[theirs] <= LEVEL[mine], f"{path.name} imports {name}"
        assert top not in RIM_ONLY or mine in RIM, f"{path.name} imports {top}: only the rim does"
        assert top not in {"dask", "distributed"} or mine in DASK, f"{path.name} imports {top}"

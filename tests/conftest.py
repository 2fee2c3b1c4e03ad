"""What all tests share: where real data lies, and when to skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)  # the same examples each time, however slow the machine
settings.load_profile("steady")

SHARED = Path(os.environ.get("PYCROCLASS_SHARED", Path(__file__).parents[2] / "shared")) / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason=f"real data not found in {SHARED}; set PYCROCLASS_SHARED"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data, for tests marked ``shared``."""
    return SHARED

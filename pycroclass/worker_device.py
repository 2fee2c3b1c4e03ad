"""Which device computes: that of this process, or that of the workers where a client of a cluster is active."""

from __future__ import annotations

import distributed

from pycroclass.errors import ParameterError
from pycroclass.stage import Execution
from pycroclass.writers.blocks import is_distributed


def device_name(execution: Execution) -> str:
    """The device and its model, as a record keeps them; a worker is asked where workers compute, and waited for.

    Raises
    ------
    ParameterError
        If the device is not there.
    """
    if not is_distributed():
        return execution.device_name()
    name: str = distributed.default_client().submit(Execution.device_name, execution, pure=False).result()
    return name


def is_like_here(execution: Execution) -> bool:
    """Whether this process has the device that computes, so that it may find out what that can do."""
    try:
        return not is_distributed() or execution.device_name() == device_name(execution)
    except ParameterError:
        return False

"""What an operator may be called and made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator
from pycroclass.spec import Domain


def test_a_parameter_that_would_hide_a_method() -> None:
    with pytest.raises(ParameterError, match=r"\['halo'\] of Blur would hide methods"):

        @dataclass(frozen=True)
        class Blur(Operator):
            domain: ClassVar[Domain] = Domain.IMAGE

            halo: int = 3

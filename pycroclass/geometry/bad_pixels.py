"""Masks whose bits say what is wrong with a pixel."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError


class CXIMask(IntFlag):
    """Bits of the mask of a CXI file; a pixel without any is perfect.

    The first sixteen bits, after F. R. N. C. Maia, The Coherent X-ray Imaging Data Bank, Nature Methods 9, 854 (2012). ``UNUSABLE`` are
    those that say that the value of a pixel must not be used; the others only tell of it.

    Examples
    --------
    >>> CXIMask(6)
    <CXIMask.SATURATED|HOT: 6>
    """

    INVALID = 0x1
    SATURATED = 0x2
    HOT = 0x4
    DEAD = 0x8
    SHADOWED = 0x10
    IN_PEAKMASK = 0x20
    TO_BE_IGNORED = 0x40
    BAD = 0x80
    OUT_OF_RESOLUTION_LIMITS = 0x100
    MISSING = 0x200
    NOISY = 0x400
    ARTIFACT_CORRECTED = 0x800
    FAILED_ARTIFACT_CORRECTION = 0x1000
    PEAK_FOR_HITFINDER = 0x2000
    PHOTON_BACKGROUND_CORRECTED = 0x4000
    UNUSABLE = INVALID | SATURATED | HOT | DEAD | SHADOWED | TO_BE_IGNORED | BAD | MISSING | NOISY | FAILED_ARTIFACT_CORRECTION


def bad_pixels(mask: npt.ArrayLike, *, good: int = 0, bad: int = CXIMask.UNUSABLE) -> npt.NDArray[np.bool_]:
    """Which pixels are bad: ``(mask & good) != good`` or ``(mask & bad) != 0``.

    Parameters
    ----------
    mask : array of integers, any shape
        Such as the dataset ``mask`` of a CXI file.
    good : int
        Bits that a good pixel must have, all of them: CrystFEL's ``mask_good``.
    bad : int
        Bits of which a good pixel has none: CrystFEL's ``mask_bad``. By default those of a CXI file that say that a value must not be used.

    Returns
    -------
    array of bool, of the shape of ``mask``
        True where a pixel is bad, as `MaskPixels` and the radial operators take it.

    Raises
    ------
    DataError
        If the mask does not hold integers.

    Examples
    --------
    >>> bad_pixels([0, CXIMask.HOT, CXIMask.PEAK_FOR_HITFINDER]).tolist()
    [False, True, False]
    >>> bad_pixels([0, 1, 3], good=1, bad=2).tolist()
    [True, False, True]
    """
    values = np.asarray(mask)
    if values.dtype.kind not in "biu":
        raise DataError(f"a mask of bits must hold integers, got {values.dtype}. A mask that is nonzero where bad needs no bits.")
    bits = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)  # as wide as any bits that are asked for
    good_bits, bad_bits = (np.array(wanted & 0xFFFF_FFFF_FFFF_FFFF, np.uint64).astype(bits.dtype) for wanted in (good, bad))
    is_bad: npt.NDArray[np.bool_] = ((bits & good_bits) != good_bits) | ((bits & bad_bits) != 0)
    return is_bad

"""Weights from the internet, fetched once and kept; the one module that imports pooch."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pooch

from pycroclass.errors import ParameterError, ReadError

log = logging.getLogger(__name__)

_MICRONET: Final = "https://nasa-public-data.s3.amazonaws.com/microscopy_segmentation_models/"
_COLLECTIONS: Final = {"micronet": "microscopynet", "image-micronet": "imagenet-microscopynet"}
MICRONET_LICENCE: Final = "MIT"
_UNUSABLE: Final = ("vgg11", "vgg13")
"""Published, but little better than chance."""
_HASHED_NAME: Final = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
"""As torchvision and timm name their files: with the first digits of their SHA-256."""


def is_micronet(source: str) -> bool:
    """Whether a source is one of NASA's collections."""
    return source in _COLLECTIONS


def micronet_address(collection: str, encoder: str) -> str:
    """Where NASA keeps the weights of an encoder that was trained on micrographs.

    Parameters
    ----------
    collection : {"micronet", "image-micronet"}
        Trained on micrographs alone, or on photographs before.
    encoder : str
        Such as ``resnet50``.

    Raises
    ------
    ParameterError
        If there is no such collection, or the weights are known to be of no use.

    Notes
    -----
    Stuckner, Harder and Smith, npj Comput. Mater. 8, 200 (2022).

    Examples
    --------
    >>> micronet_address("image-micronet", "densenet121").rpartition("/")[2]
    'densenet121_pretrained_imagenet-microscopynet_v1.0.pth.tar'
    """
    if collection not in _COLLECTIONS:
        raise ParameterError(f"no collection {collection!r}; known are {', '.join(_COLLECTIONS)}")
    if encoder in _UNUSABLE:
        raise ParameterError(f"the published weights of {encoder} are little better than chance. Take {encoder}_bn or another network.")
    version = "1.1" if (encoder, collection) == ("resnet50", "micronet") else "1.0"
    encoder = "resnext101" if (encoder, collection) == ("resnext101_32x8d", "micronet") else encoder
    return f"{_MICRONET}{encoder}_pretrained_{_COLLECTIONS[collection]}_v{version}.pth.tar"


def download(address: str) -> Path:
    """The file at an address, from the cache of this user if it is there.

    Parameters
    ----------
    address : str
        Beginning with ``https://`` or ``http://``. Where the name of the file ends in a hyphen and hexadecimal digits, as torchvision's
        do, these are the first of its SHA-256, and are checked.

    Raises
    ------
    ReadError
        If it cannot be had, or is not what its name says.
    """
    try:
        with _quiet():
            path = Path(pooch.retrieve(address, known_hash=None, path=pooch.os_cache("pycroclass")))
    except (OSError, ValueError) as error:
        raise ReadError(
            f"cannot get {address}: {error}. On a machine without internet, get the file elsewhere and give its path instead."
        ) from error
    stated = _HASHED_NAME.search(address)
    if stated and not pooch.file_hash(str(path)).startswith(stated[1]):
        path.unlink()
        raise ReadError(f"{address} was damaged on the way: its SHA-256 does not begin with {stated[1]}. Try again.")
    log.info("weights of %s are in %s", address, path)
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """pooch writes to the terminal; we log."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)

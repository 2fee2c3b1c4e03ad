"""Addresses of published weights, and what a server may do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pycroclass.errors import ParameterError, ReadError
from pycroclass.networks.downloads import download, micronet_address

ROOT = "https://nasa-public-data.s3.amazonaws.com/microscopy_segmentation_models/"


@pytest.mark.parametrize(
    ("collection", "encoder", "file"),
    [
        ("micronet", "resnet50", "resnet50_pretrained_microscopynet_v1.1.pth.tar"),
        ("image-micronet", "resnet50", "resnet50_pretrained_imagenet-microscopynet_v1.0.pth.tar"),
        ("micronet", "resnet18", "resnet18_pretrained_microscopynet_v1.0.pth.tar"),
        ("micronet", "densenet121", "densenet121_pretrained_microscopynet_v1.0.pth.tar"),
        ("image-micronet", "vgg16_bn", "vgg16_bn_pretrained_imagenet-microscopynet_v1.0.pth.tar"),
        ("micronet", "resnext101_32x8d", "resnext101_pretrained_microscopynet_v1.0.pth.tar"),
    ],
)
def test_where_nasa_keeps_them(collection: str, encoder: str, file: str) -> None:
    assert micronet_address(collection, encoder) == ROOT + file


def test_what_nasa_has_not() -> None:
    with pytest.raises(ParameterError, match="known are micronet, image-micronet"):
        micronet_address("imagenet-micronet", "resnet50")
    with pytest.raises(ParameterError, match="vgg11_bn"):
        micronet_address("micronet", "vgg11")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path, list[str]]]:
    """Address, folder and what was asked for; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", folder, asked
        running.shutdown()
        thread.join()


def test_fetched_once(server: tuple[str, Path, list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address, folder, asked = server
    digest = hashlib.sha256(b"weights").hexdigest()
    for name in ("w.pth", f"resnet18-{digest[:8]}.pth"):
        (folder / name).write_bytes(b"weights")
        path = download(address + name)
        assert path.read_bytes() == b"weights"
        assert path.is_relative_to(tmp_path / "cache")
        assert download(address + name) == path
    assert asked == ["/w.pth", f"/resnet18-{digest[:8]}.pth"]
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_or_not_what_its_name_says(server: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    address, folder, _ = server
    with pytest.raises(ReadError, match="404"):
        download(address + "w.pth")
    (folder / "resnet18-0123abcd.pth").write_bytes(b"an error page")
    with pytest.raises(ReadError, match="does not begin with 0123abcd"):
        download(address + "resnet18-0123abcd.pth")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ReadError, match="without internet"):
        download("http://127.0.0.1:9/w.pth")

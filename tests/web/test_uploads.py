"""What is sent is limited in bytes, in parts, in depth and in pixels, and nothing of it is shown as a page of ours."""

import http.client
import io
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.conftest import RunningServer, start_server, until
from tests.web.conftest import Site
from webapp.config import FORM_LIMIT_BYTES, UPLOAD_LIMIT_BYTES

BLOCK = bytes(2**20)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, extra: bytes = b"", pixels: bytes | None = None) -> bytes:
    """A PNG that says it is grey and of this size; its pixels are none, or those given."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(pixels or b""))
    return b"\x89PNG\r\n\x1a\n" + header + extra + content + chunk(b"IEND", b"")


def good(extra: bytes = b"") -> bytes:
    return png(28, 28, extra, (b"\0" + bytes(28)) * 28)


def saved(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, format, **options)
    return out.getvalue()


def many_gifs() -> bytes:
    frames = [Image.new("L", (64, 64), shade) for shade in range(200)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
BOMBS: dict[str, tuple[bytes, str]] = {
    "50,000 by 50,000": (png(50_000, 50_000), "too large"),
    "10,000 by 10,000": (png(10_000, 10_000), "too large: 10000×10000"),
    "as many pixels as there are numbers": (png(2**31 - 1, 2**31 - 1), "too large"),
    "no pixels": (png(0, 0), "no picture"),
    "fewer pixels than it says": (png(2000, 2000, pixels=b"\0"), "damaged"),
    "a comment of a gigabyte": (good(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), "damaged"),
    "half a JPEG": (saved("JPEG")[:400], "damaged"),
    "SVG": (SVG, "no picture"),
    "SVG behind the first bytes of a PNG": (b"\x89PNG\r\n\x1a\n" + SVG, "no picture"),
    "a page": (b"<html><script>alert(1)</script>", "no picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run", "no picture"),
    "nothing": (b"", "no picture"),
}
ODD: dict[str, Callable[[], bytes]] = {
    "a broken colour profile": lambda: saved("PNG", icc_profile=b"\xff" * 1000),
    "broken Exif": lambda: saved("JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 100),
    "200 frames": many_gifs,
    "a comment of a gigabyte is not needed": good,
}


def test_one(site: Site, job_id: str, content: bytes) -> tuple[int, str]:
    """Status and message of Test One for an upload that calls itself a PNG."""
    form = {"job_id": job_id, "image_file": (io.BytesIO(content), "cat.png", "image/png")}
    answer = site.client.post("/models/images/generic/infer_one.json", data=form)
    return answer.status_code, (answer.get_json().get("error") or {}).get("message", "")


test_one.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_pixels_are_told_and_forgotten(site: Site, trained: str, name: str) -> None:
    """The predictor answers, with what is wrong, and goes on."""
    content, sentence = BOMBS[name]
    status, message = test_one(site, trained, content)
    assert status == 400, message
    assert sentence in message
    assert [*site.services.settings.uploads_dir.iterdir()] == []


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_read_without_what_is_odd(site: Site, trained: str, name: str) -> None:
    status, message = test_one(site, trained, ODD[name]())
    assert status == 200, message


def test_bombs_in_a_folder_of_pictures_are_skipped(site: Site, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"good{number}.png").write_bytes(good())
    for number, (content, _) in enumerate(BOMBS.values()):
        (tmp_path / "a" / f"bomb{number}.png").write_bytes(content)
    job_id = site.done(site.make_classification(tmp_path, folder_pct_val="0"))
    made = site.folder(job_id).read_dataset()["splits"]["train"]
    assert (made["entries"], made["skipped"]) == (6, len(BOMBS))


def test_a_name_of_an_upload_is_text(site: Site, trained: str) -> None:
    evil = "<script>alert(1)</script>\u202egnp"
    form = {"job_id": trained, "image_file": (io.BytesIO(good()), evil)}
    answer = site.client.post("/models/images/generic/infer_one", data=form)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.get_data(as_text=True)
    long = {"job_id": trained, "image_file": (io.BytesIO(good()), 5000 * "x" + ".png")}
    assert 1000 * "x" not in site.client.post("/models/images/generic/infer_one", data=long).get_data(as_text=True)


def test_forms_are_limited_in_bytes_and_parts(client: FlaskClient) -> None:
    address = "/models/visualize-lr"
    most = "x" * (FORM_LIMIT_BYTES + 1)
    assert client.post(address, data={"learning_rate": most}).status_code == 413
    assert client.post(address, data={"learning_rate": most}, content_type="multipart/form-data").status_code == 413
    assert client.post(address, json={"learning_rate": most}).status_code == 413
    parts = {f"field{number}": "x" for number in range(2000)}
    assert client.post(address, data=parts, content_type="multipart/form-data").status_code == 413


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("uploads"))
    yield running
    running.stop()


def send(server: RunningServer, address: str, headers: dict[str, str], blocks: Iterator[bytes]) -> int:
    """The status of the answer to a body that is sent block by block, for as long as the server takes it."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.putrequest("POST", address)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        for block in blocks:
            connection.send(block)
    except OSError:
        # It hung up in the middle, and may have said why.
        pass
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def chunked(size: int) -> Iterator[bytes]:
    for _ in range(-(-size // len(BLOCK))):
        yield b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_body_without_a_length_is_not_read(real: RunningServer, kind: str) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": kind}
    assert send(real, "/models/visualize-lr", headers, chunked(FORM_LIMIT_BYTES + 2**20)) == 411


def test_a_body_that_says_that_it_is_too_large_is_not_read(real: RunningServer) -> None:
    headers = {"Content-Length": str(UPLOAD_LIMIT_BYTES + 1), "Content-Type": "multipart/form-data; boundary=x"}
    assert send(real, "/models/images/generic/infer_one", headers, iter(())) in (404, 413)
    assert send(real, "/models/visualize-lr", headers, iter(())) == 413


def test_a_request_that_is_no_http_writes_no_lines_into_the_log(real: RunningServer) -> None:
    parts = urlsplit(real.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as line:
        line.sendall(b"GET /\x1b[2J\x1b]0;owned\x07 HTTP/9.9\r\nHost: localhost\r\n\r\n")
        line.recv(100)
    until(lambda: "[2J" in real.log.read_text(), 10, "the request is in the log")
    assert "\x1b" not in real.log.read_text()

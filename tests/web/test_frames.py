"""Live layers through their routes: the frames that a training left, and the choice of the image that it shows."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.folder import JobFolder
from jobs.pins import pin_upload
from tests.conftest import wait_for_job
from tests.web.conftest import Site

JSON = {"Accept": "application/json"}
FRAME = {"frame": 1, "step": 30, "epoch": 1.0, "image": {"split": "val", "index": 0}, "layers": []}


@pytest.fixture(scope="module")
def over(whole_site: Site) -> str:
    """A training that is done and left one frame that this test knows."""
    job_id = whole_site.done(whole_site.make_model(train_epochs="1", learning_rate="0.001"))
    folder = whole_site.folder(job_id)
    folder.frames.mkdir(exist_ok=True)
    folder.frame(1).write_bytes(gzip.compress(json.dumps(FRAME).encode()))
    return job_id


@pytest.fixture(scope="module")
def running(whole_site: Site) -> Iterator[str]:
    long = {"train_epochs": "1000000", "snapshot_interval": "0", "val_interval": "0", "learning_rate": "1e-6"}
    job_id = whole_site.make_model(**long)
    whole_site.until_event(job_id, "train")
    yield job_id
    whole_site.client.post(f"/models/{job_id}/abort")
    wait_for_job(whole_site.client, job_id)


def pin(site: Site, job_id: str, **form: Any) -> tuple[int, dict[str, Any]]:
    answer = site.client.put(f"/models/{job_id}/pin", data=form, headers=JSON)
    body: dict[str, Any] = answer.get_json()
    return answer.status_code, body


def picture(kind: str = "PNG", size: tuple[int, int] = (20, 30)) -> bytes:
    content = io.BytesIO()
    Image.new("L", size).save(content, kind)
    return content.getvalue()


def pinned(folder: Path) -> dict[str, Any]:
    """What the worker reads."""
    choice: dict[str, Any] = json.loads((folder / "pin.json").read_text())
    return choice


# Frames


def test_a_frame_comes_as_it_was_compressed_and_may_be_kept_for_ever(site: Site, over: str) -> None:
    answer = site.client.get(f"/models/{over}/frames/1.json", headers={"Accept-Encoding": "gzip, br"})
    assert answer.status_code == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.mimetype == "application/json"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.data == site.folder(over).frame(1).read_bytes()


@pytest.mark.parametrize("encodings", [None, "identity", "br", "gzip;q=0"])
def test_who_cannot_unpack_gets_it_unpacked(site: Site, over: str, encodings: str | None) -> None:
    headers = {} if encodings is None else {"Accept-Encoding": encodings}
    answer = site.client.get(f"/models/{over}/frames/1.json", headers=headers)
    assert "Content-Encoding" not in answer.headers
    assert answer.get_json() == FRAME


@pytest.mark.parametrize(("path", "sentence"), [
    ("{over}/frames/2000.json", "kept no frame 2000"),
    ("{over}/frames/0.json", "kept no frame 0"),
    ("{over}/frames/-1.json", "kept no frame -1"),
    ("{over}/frames/1e3.json", "kept no frame 1e3"),
    ("{over}/frames/..spec.json", "kept no frame ..spec"),
    ("{over}/frames/" + "9" * 5000 + ".json", "kept no frame 999"),
    ("{generic}/frames/1.json", "no model"),
    ("20200101-000000-0000/frames/1.json", "Job not found"),
])  # fmt: skip
def test_no_such_frame_is_a_sentence(site: Site, over: str, path: str, sentence: str) -> None:
    answer = site.client.get("/models/" + path.format(over=over, generic=site.generic))
    assert answer.status_code == 404
    assert sentence in answer.get_json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"{}" * 1000)[:-12], b"\x1f\x8b" + b"\xff" * 50],
    # gzip writes the time of day into what it makes.
    ids=["another file", "cut off", "damaged"],
)
def test_a_frame_that_pasted_code_wrote_is_a_sentence(site: Site, over: str, content: bytes) -> None:
    site.folder(over).frame(7).write_bytes(content)
    answer = site.client.get(f"/models/{over}/frames/7.json")
    assert answer.status_code == 404
    assert "The frame 7 cannot be read" in answer.get_json()["error"]["message"]


# The pin


def test_an_image_of_the_dataset_is_pinned(site: Site, running: str) -> None:
    for split in ("train", "val"):
        choice = {"split": split, "index": 3}
        assert pin(site, running, split=split, index="3") == (200, {"pin": choice})
        assert pinned(site.folder(running).path) == choice
        assert site.client.get(f"/models/{running}.json").get_json()["pin"] == choice


def test_a_picture_is_sent_and_pinned_and_goes_with_the_next_one(site: Site, running: str) -> None:
    for kind, name in (("PNG", "<b>dog</b>.png"), ("JPEG", "../../dog.jpg")):
        content = picture(kind)
        status, answer = pin(site, running, image_file=(io.BytesIO(content), name))
        assert (status, answer) == (200, {"pin": {"name": name}})
        folder = site.folder(running).path
        assert (folder / pinned(folder)["file"]).read_bytes() == content
        assert len(list(folder.glob("pinned_*"))) == 1
    assert pin(site, running, split="val", index="0")[0] == 200
    assert list(folder.glob("pinned_*")) == []


def test_a_damaged_pin_is_told_of_and_replaced(site: Site, running: str) -> None:
    site.folder(running).pin.write_text("{")
    told = site.client.get(f"/models/{running}.json")
    assert told.status_code == 200
    assert told.get_json()["pin"] is None
    assert pin(site, running, split="val", index="1")[0] == 200
    assert pinned(site.folder(running).path) == {"split": "val", "index": 1}


def test_a_folder_in_the_place_of_the_pin_keeps_nobody_from_the_page(site: Site, over: str) -> None:
    site.folder(over).pin.mkdir()
    assert site.client.get(f"/models/{over}.json").get_json()["pin"] is None
    site.folder(over).pin.rmdir()


def test_an_upload_that_cannot_be_pinned_leaves_nothing(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.pin.mkdir()
    with pytest.raises(OSError):
        pin_upload(folder, picture(), "digit.png")
    assert [path.name for path in tmp_path.iterdir()] == ["pin.json"]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 10^10 pixels."""
    content = bytearray(picture())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(("form", "sentence"), [
    ({}, "The request names no split. Name a split"),
    ({"index": "3"}, "names no split for the index '3'. Name a split"),
    ({"split": "val"}, "whole number from 0 to"),
    ({"split": "val", "index": "-1"}, "whole number from 0 to"),
    ({"split": "val", "index": "50000"}, "no image '50000'"),
    ({"split": "val", "index": "9" * 10_000}, "whole number from 0 to"),
    ({"split": "val", "index": "one"}, "no image 'one'"),
    ({"split": "test", "index": "0"}, "no images 'test'"),
    ({"split": "../val", "index": "0"}, "Name a split"),
    ({"image_file": b"This is a text."}, "no picture of a kind that can be read"),
    ({"image_file": b""}, "no picture of a kind that can be read"),
    ({"image_file": picture()[:45]}, "picture"),
    ({"image_file": bomb()}, "picture"),
])  # fmt: skip
def test_a_bad_choice_gets_a_sentence_and_changes_nothing(
    site: Site, running: str, form: dict[str, Any], sentence: str
) -> None:
    folder = site.folder(running).path
    pin(site, running, split="val", index="1")
    before = sorted(folder.glob("pin*"))
    filled = {key: (io.BytesIO(value), "dog.png") if isinstance(value, bytes) else value for key, value in form.items()}
    status, answer = pin(site, running, **filled)
    assert status == 400
    assert sentence in answer["error"]["message"]
    assert pinned(folder) == {"split": "val", "index": 1}
    assert sorted(folder.glob("pin*")) == before


def test_a_script_pins_with_json_and_gets_json_whatever_it_accepts(site: Site, running: str) -> None:
    address = f"/models/{running}/pin"
    choice = {"split": "val", "index": 2}
    assert site.client.put(address, json=choice).get_json() == {"pin": choice}
    bad: list[dict[str, Any]] = [
        {"json": {"index": 2}},
        {"data": {"split": "val", "index": "many"}},
        {"data": "{", "mimetype": "application/json"},
    ]
    for sent in bad:
        answer = site.client.put(address, headers={"Accept": "*/*"}, **sent)
        assert (answer.status_code, answer.mimetype) == (400, "application/json")
        assert answer.get_json()["error"]["message"]
    assert pinned(site.folder(running).path) == choice


def test_what_is_over_pins_nothing(site: Site, over: str) -> None:
    status, answer = pin(site, over, split="val", index="0")
    assert status == 409
    assert "The training is over" in answer["error"]["message"]
    assert not site.folder(over).pin.exists()
    assert site.client.get(f"/models/{over}.json").get_json()["pin"] is None
    assert pin(site, site.generic, split="val", index="0")[0] == 404
    assert pin(site, "20200101-000000-0000", split="val", index="0")[0] == 404


def test_a_training_without_live_layers_pins_nothing(site: Site, running: str) -> None:
    job_id = site.make_model(train_epochs="1", live_layers="0")
    status, answer = pin(site, job_id, split="val", index="0")
    site.client.post(f"/models/{job_id}/abort")
    wait_for_job(site.client, job_id)
    assert status == 409
    assert "without live layers" in answer["error"]["message"]

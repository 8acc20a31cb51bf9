"""Attacks that other tools of this kind have suffered, tried here, where they must fail.

| attack | tests |
|---|---|
| `../` in addresses, in forty encodings | `test_no_address_leads_out_of_what_is_served` |
| request lines that no client sends | `test_raw_requests.py`: to a real server, over a socket |
| deletion outside of the job | `test_what_is_deleted_is_a_job_and_nothing_else` |
| siblings of roots, links, absolute paths | `unit/test_server_paths.py`, `test_paths.py`, `test_bad_input.py` |
| paths inside of files that a network forged | `test_forged_folders.py`; no job of another tool is imported |
| archives with links, `..`, bombs | `unit/test_downloads.py`, `unit/test_backup.py`; none are unpacked over HTTP |
| SSRF by URL, redirects, DNS rebinding | `test_image_url.py` |
| an API on all addresses without a login | `test_login.py`, `crash/test_serve.py` |
| passwords guessed from a network of addresses | `test_who_guesses_from_many_addresses_of_one_place_has_to_wait` |
| open redirects, fixed secrets, sessions that outlive a password | `test_login.py`, `test_live_accounts.py` |
| jobs of other people | `test_rights.py`, `test_live_accounts.py` |
| methods without a browser check, DNS rebinding | `test_access.py`: every route by every method |
| sockets of another site, and after a login has ended | `test_access.py`, `test_live.py`, `test_live_accounts.py` |
| scripts in names, notes | `test_names_are_text_wherever_they_are_shown`, `test_access.py` |
| scripts in names of layers and classes, in messages and events | `browser/test_hostile_names.py` |
| scripts in logs, SVG, CSV | `test_what_a_person_brought_is_no_page`, `test_uploads.py` |
| pickles, shells, debuggers, models of a hub | `unit/test_sources.py` |
| fields that leak through filters and orders | `test_lists_are_sorted_and_filtered_by_what_they_show` |
| bombs of bytes, parts, numbers and JSON | `test_uploads.py` |
| bombs of pixels, damaged and lying pictures | `test_uploads.py` |
| links, pipes and devices in what a worker wrote | `test_forged_folders.py` |
| databases that crash who reads them | `test_a_database_that_is_made_to_do_harm_ends_no_server` |
| lines and colours for the log of the server | `test_raw_requests.py` |
| answers of a network that fill the server, or answer for somebody else | `unit/test_answers.py`, `crash/test_containment.py` |
| links among pictures that lead into another's job | `unit/test_server_paths.py`, `crash/test_containment.py` |
| Lua and Python that want out | the tests of Torch7's sandbox and of containment |
"""

import html
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.routing import Rule

from jobs.storage.datum import encoded_datum
from tests.conftest import until
from tests.past_jobs import write_past_jobs
from tests.unit.storage_jobs import picture, save_database, save_pictures_database
from tests.web.conftest import Site
from webapp import create_app
from webapp.config import Settings

TARGETS = (
    "../spec.json", "../../layerscope.sqlite", "../../../../../../../../etc/passwd", "/etc/passwd", "..", ".",
    "....//....//etc/passwd", "..;/..;/etc/passwd", "..\\..\\etc\\passwd", "file:///etc/passwd", "spec.json", "worker.log",
    "~root/.ssh/id_rsa", "mean.jpg/../spec.json", "mean.jpg\0.json",
)  # fmt: skip
# What a server may decode once more than it should, or too early.
ENCODINGS = (
    lambda text: text,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: text.replace(".", "%2e").replace("/", "%2f"),
    lambda text: text.replace(".", "%u002e").replace("/", "%c0%af"),
)
SECRETS = (b"root:", b"SQLite format", b'"kind"')
VALID = {"number": "1", "split": "train", "index": "0", "name": "mean.jpg", "table": "models", "url": "images/generic",
         "filename": "dist/main.js"}  # fmt: skip
NO_JOB = {"error": "Job not found."}


def addresses(rule: Rule, job_id: str, evil: str) -> Iterator[str]:
    """The route's address with `evil` in the place of each of its arguments, one at a time."""
    for attacked in rule.arguments:

        def fill(found: re.Match[str], attacked: str = attacked) -> str:
            name = found[1].rsplit(":", 1)[-1]
            return evil if name == attacked else VALID.get(name, job_id)

        yield re.sub(r"<([^>]+)>", fill, rule.rule)


def test_no_address_leads_out_of_what_is_served(site: Site, trained: str) -> None:
    """By whatever encoding, and for whatever argument of whatever route."""
    rules = [rule for rule in site.client.application.url_map.iter_rules() if "GET" in (rule.methods or ())]
    tried = {
        address
        for rule, target, encode in product(rules, TARGETS, ENCODINGS)
        for address in addresses(rule, trained, encode(target))
    }
    assert len(tried) > 500
    for address in tried:
        answer = site.client.get(address, headers={"Accept": "application/json"})
        assert answer.status_code < 500, address
        assert not any(secret in answer.data for secret in SECRETS), address
        if answer.status_code == 200:
            # What is left when the dots have been taken away is another page, or DIGITS's answer to an unknown job.
            is_page = answer.mimetype == "text/html" or address.endswith(("//", "..", ".", "%2e", "%2e%2e"))
            assert is_page or answer.get_json(silent=True) == NO_JOB or "mean.jpg" in address, address
        elif answer.status_code in (301, 302, 308):
            assert re.match(r"(http://localhost)?/[^/\\]", answer.location), (address, answer.location)


@pytest.fixture
def past(settings: Settings) -> Iterator[tuple[Flask, list[str]]]:
    """A server with five old jobs, the first a dataset, and their ids."""
    ids = write_past_jobs(settings, 5)
    app = create_app(settings)
    yield app, ids
    app.extensions["layerscope"].close()


def test_what_is_deleted_is_a_job_and_nothing_else(past: tuple[Flask, list[str]], settings: Settings) -> None:
    app, ids = past
    client = app.test_client()
    precious = settings.data_dir.parent / "precious"
    precious.mkdir()
    (precious / "work").write_text("years")
    before = {path.name for path in settings.jobs_dir.iterdir()}
    for target, encode in product((*TARGETS, "*", "%", ids[1][:-1], f"{ids[1]}/../{ids[2]}"), ENCODINGS):
        for path in (f"/jobs/{encode(target)}", f"/models/{encode(target)}"):
            assert client.delete(path).status_code in (400, 404, 405, 308), path
        for field in ("job_ids[]", "job_ids"):
            assert client.delete("/jobs", data={field: encode(target)}).status_code in (200, 400)
    assert {path.name for path in settings.jobs_dir.iterdir()} == before
    # A folder that was moved to another disk, with a link in its place.
    moved = settings.jobs_dir / ids[1]
    (moved / "spec.json").unlink()
    moved.rmdir()
    moved.symlink_to(precious)
    assert client.delete(f"/jobs/{ids[1]}").status_code == 200
    assert (precious / "work").read_text() == "years"
    assert not any(ids[1] in path.name for path in settings.jobs_dir.iterdir())


EVIL_NAMES = (
    '"><script>alert(1)</script>', "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ 'ab' * 9 }}",
    "javascript:alert(1)", "' onmouseover='alert(1)", "<!--", "]]>", "\u202etxt.exe", "=cmd|' /C calc'!A0",
)  # fmt: skip


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_are_text_wherever_they_are_shown(past: tuple[Flask, list[str]], name: str) -> None:
    app, (dataset, model, *_) = past
    client = app.test_client()
    # Old jobs of these tests have specs without their fields.
    for job_id, url in ((dataset, "datasets"), (model, "models")):
        assert client.put(f"/{url}/{job_id}", data={"job_name": name, "job_notes": name}).status_code == 200
    for path in ("/", f"/datasets/{dataset}", f"/models/images/generic/new?dataset={dataset}",
                 f"/datasets/explore?job_id={dataset}", f"/nowhere/{quote(name)}", f"/?filter={quote(name)}"):  # fmt: skip
        text = client.get(path).get_data(as_text=True)
        assert name not in text or not set(name) & set("<>\"'"), path
        assert "ab" * 9 not in text, path
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL):
            json.loads(data)
    assert html.escape(name, quote=False).replace("'", "&#39;").replace('"', "&#34;") in client.get(
        f"/datasets/{dataset}"
    ).get_data(as_text=True)


def test_what_a_person_brought_is_no_page(site: Site, trained: str) -> None:
    """Pictures, logs and numbers have a type that we say, run nothing, and have names that we made."""
    client = site.client
    script = "<script>alert(document.domain)</script>"
    site.folder(trained).log.open("a").write(f"{script}\n")
    downloads = {
        f"/jobs/{trained}/log?download=1": ("text/plain", f"{trained}.log"),
        f"/models/{trained}/curve.csv": ("text/csv", f"{trained}-curve.csv"),
        f"/jobs/{site.classification}/files/mean.jpg": ("image/jpeg", None),
        f"/datasets/{site.classification}/image/train/0": ("image/png", None),
        f"/models/{trained}/frames/1.json": ("application/json", None),
        f"/jobs/{trained}/log": ("application/json", None),
    }
    for path, (mimetype, name) in downloads.items():
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.mimetype == mimetype, path
        assert "sandbox" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if name is not None:
            assert answer.headers["Content-Disposition"] == f"attachment; filename={name}"
    assert script in client.get(f"/jobs/{trained}/log").get_json()["text"]
    cells = [
        cell for line in client.get(f"/models/{trained}/curve.csv").text.splitlines()[1:] for cell in line.split(",")
    ]
    assert all(float(cell) is not None for cell in cells if cell), "what a spreadsheet might run is a number"


@pytest.mark.parametrize(
    "sort", ["cause", "worker", "notes", "created; DROP TABLE jobs", "name--", "(SELECT 1)", "__class__"]
)
def test_lists_are_sorted_and_filtered_by_what_they_show(past: tuple[Flask, list[str]], sort: str) -> None:
    client = past[0].test_client()
    assert client.get(f"/tables.json?models.sort={quote(sort)}").status_code == 400
    assert client.get(f"/tables.json?models.order={quote(sort)}").status_code == 400
    assert client.get(f"/tables/{quote(sort)}/names.json").status_code == 404
    answer = client.get(f"/tables.json?filter={quote(sort)}%25").get_json()
    assert answer["models"]["matching"] == 0, "a filter is words, and no pattern"
    assert answer["models"]["total"] == 4


BODIES = (
    b"null", b"[]", b'"text"', b"1", b'{"job_id": {}}', b"{", b"\xff", b"[" * 100_000,
    b'{"dataset_name": [[1]], "kind": 7, "model_name": {}, "folder_train": 1e999}',
    b'{"dataset": null, "framework": [], "custom_network": 3, "job_id": 7, "split": {}}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:20].decode(errors="replace"))
def test_no_body_makes_a_fault(app: Flask, client: FlaskClient, body: bytes) -> None:
    """Each view that takes something gets what it does not expect, as JSON, as a form, and as a form of parts."""
    changing = [rule for rule in app.url_map.iter_rules() if {"POST", "PUT", "DELETE"} & (rule.methods or set())]
    for rule, kind in product(
        changing, ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    ):
        if rule.endpoint == "home.try_it":
            continue
        address = re.sub(
            r"<([^>]+)>", lambda found: VALID.get(found[1].rsplit(":", 1)[-1], "20200101-000000-0000"), rule.rule
        )
        (method,) = {"POST", "PUT", "DELETE"} & (rule.methods or set())
        answer = client.open(address, method=method, data=body, content_type=kind)
        assert answer.status_code < 500, (address, kind)
    assert until(lambda: not app.extensions["layerscope"].store.active(), 5)


@pytest.fixture
def explored(site: Site, tmp_path: Path) -> tuple[str, Path]:
    """A generic dataset that is done, and the folder of its database, which its owner can still write."""
    folder = save_pictures_database(tmp_path / "mine_db", [picture(seed) for seed in range(50)])
    made = site.folder(site.classification).path
    changes = {"prebuilt_train_images": str(folder), "prebuilt_val_images": "", "prebuilt_mean_file": ""}
    return site.done(site.make_generic(made, **changes)), folder


def looked_at(site: Site, dataset: str) -> list[tuple[int, str]]:
    """Status and words of the explore page, and of one picture of it."""
    pages = (f"/datasets/explore?job_id={dataset}", f"/datasets/{dataset}/image/train/7")
    answers = [site.client.get(page, headers={"Accept": "application/json"}) for page in pages]
    return [
        (answer.status_code, (answer.get_json(silent=True) or {}).get("error", {}).get("message", ""))
        for answer in answers
    ]


def overwrite(folder: Path) -> None:
    with (folder / "data.mdb").open("rb+") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * ((folder / "data.mdb").stat().st_size - 4096 * 2))


def lead_out(folder: Path) -> None:
    (folder / "data.mdb").unlink()
    (folder / "data.mdb").symlink_to("/etc/passwd")


@pytest.mark.parametrize(("harm", "sentence"), [
    (overwrite, "damaged"),
    (lead_out, "leads out of the folders that this server may read"),
], ids=["damaged pages", "a link"])  # fmt: skip
def test_a_database_that_is_made_to_do_harm_ends_no_server(
    site: Site, explored: tuple[str, Path], harm: Callable[[Path], None], sentence: str
) -> None:
    dataset, folder = explored
    assert [status for status, _ in looked_at(site, dataset)] == [200, 200]
    harm(folder)
    for status, said in looked_at(site, dataset):
        assert status == 400
        assert sentence in said
    assert site.client.get(f"/datasets/{dataset}").status_code == 200


def test_a_bomb_in_a_database_is_told(site: Site, explored: tuple[str, Path]) -> None:
    dataset, folder = explored
    (folder / "data.mdb").unlink()
    folder.rmdir()
    # The server shows PNG as it is: what browsers know needs no decoding here.
    tiff = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(tiff, "TIFF", compression="group4")
    save_database(folder, [encoded_datum(tiff.getvalue(), (1, 28, 28), 0)] * 50)
    (page, _), (status, said) = looked_at(site, dataset)
    assert (page, status) == (200, 400)
    assert "too large: 10000×10000 pixels" in said

"""Test One by URL: off unless the server allows it, and then no way into a network that is not public."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from jobs.errors import UserError
from tests.conftest import start_server
from tests.past_jobs import write_past_jobs
from tests.web.conftest import Site
from tests.web.internet import CERTIFICATE, INSIDE, PICTURE, PUBLIC, Internet, web
from webapp import create_app
from webapp.config import Settings
from webapp.image_url import MOST_REDIRECTS, Address, ImagesOfTheWeb, is_elsewhere, is_public

SECONDS = 0.4


@pytest.fixture
def internet() -> Iterator[Internet]:
    running = Internet()
    yield running
    running.close()


def refusal(fetching: ImagesOfTheWeb, url: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        fetching.save(url, path)
    return str(caught.value)


def test_a_picture_is_fetched_by_the_address_that_was_looked_at(internet: Internet, tmp_path: Path) -> None:
    url = f"http://pictures.example:{internet.port}/some/my%20cat.png?size=1"
    assert web().save(url, tmp_path / "kept") == "my cat.png"
    assert (tmp_path / "kept").read_bytes() == PICTURE
    assert internet.seen == [(PUBLIC, f"pictures.example:{internet.port}")]


@pytest.mark.parametrize("answers", [
    [INSIDE],
    [f"{PUBLIC} {INSIDE}"],
    [f"{INSIDE} {PUBLIC}"],
    [""],
    ["::1"],
    [f"::ffff:{INSIDE}"],
])  # fmt: skip
def test_a_host_with_an_address_inside_is_not_asked(internet: Internet, tmp_path: Path, answers: list[str]) -> None:
    said = refusal(web(*answers), f"http://pictures.example:{internet.port}/", tmp_path / "kept")
    assert "public" in said
    assert internet.seen == []


def test_a_name_that_means_something_else_a_moment_later_leads_nowhere_else(internet: Internet, tmp_path: Path) -> None:
    """DNS rebinding: public when it is looked at, inside when it is connected to."""
    fetching = web(PUBLIC, INSIDE)
    fetching.save(f"http://rebinding.example:{internet.port}/", tmp_path / "kept")
    assert [address for address, _ in internet.seen] == [PUBLIC]
    assert "public" in refusal(fetching, f"http://rebinding.example:{internet.port}/", tmp_path / "kept")


@pytest.mark.parametrize("target", [
    "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/", "http://0x7f.1:{port}/", "//127.0.0.1:{port}/", "http://localhost:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://１２７.0.0.1:{port}/",
])  # fmt: skip
def test_a_redirect_into_the_network_is_not_followed(internet: Internet, tmp_path: Path, target: str) -> None:
    """By the product's own resolver and rule, but for the first address."""

    def is_allowed(address: Address) -> bool:
        return address == ip_address(PUBLIC) or is_elsewhere(address)

    url = f"http://{PUBLIC}:{internet.port}/redirect?{target.format(port=internet.port)}"
    said = refusal(ImagesOfTheWeb(is_allowed=is_allowed, seconds=60), url, tmp_path / "kept")
    assert "not public" in said or "No picture could be fetched" in said
    assert [address for address, _ in internet.seen] == [PUBLIC]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://pictures.example/", "gopher://x/", "http://a:b@c/"])
def test_a_redirect_to_what_is_no_address_of_the_web_is_refused(
    internet: Internet, tmp_path: Path, target: str
) -> None:
    refusal(web(), f"http://pictures.example:{internet.port}/redirect?{target}", tmp_path / "kept")
    assert len(internet.seen) == 1


def test_redirects_end(internet: Internet, tmp_path: Path) -> None:
    round_and_round = f"http://pictures.example:{internet.port}/redirect?/redirect?/redirect"
    assert "leads on" in refusal(web(), round_and_round, tmp_path / "kept")
    assert len(internet.seen) == MOST_REDIRECTS + 1
    assert web().save(f"http://pictures.example:{internet.port}/redirect?/cat.png", tmp_path / "kept") == "cat.png"


@pytest.mark.parametrize("path", ["/slow", "/slow-head"])
def test_bytes_that_drip_are_waited_for_no_longer_than_all_is_allowed(
    internet: Internet, tmp_path: Path, path: str
) -> None:
    # They would never end.
    said = refusal(web(seconds=SECONDS), f"http://pictures.example:{internet.port}{path}", tmp_path / "kept")
    assert f"within {SECONDS:g} s" in said


def test_a_resolver_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    release = threading.Event()

    def never(host: str, port: int) -> list[str]:
        release.wait()
        return []

    assert f"within {SECONDS:g} s" in refusal(
        web(addresses_of=never, seconds=SECONDS), "http://x.example/", tmp_path / "kept"
    )
    release.set()


@pytest.mark.parametrize("path", ["/endless", "/large"])
def test_more_bytes_than_are_allowed_are_not_kept(internet: Internet, tmp_path: Path, path: str) -> None:
    said = refusal(web(most_bytes=2**20), f"http://pictures.example:{internet.port}{path}", tmp_path / "kept")
    assert "larger than 1 MiB" in said
    assert (tmp_path / "kept").stat().st_size <= 2**20


@pytest.mark.parametrize(("url", "sentence"), [
    ("http://me:secret@pictures.example/", "name or a password"),
    ("http://me@pictures.example/", "name or a password"),
    ("http://pictures.example\\@127.0.0.1/", "name or a password"),
    ("ftp://pictures.example/", "must begin with http"),
    ("http:///cat.png", "must begin with http"),
    ("http://[::1/", "no address"),
    ("http://x:99999/", "no address"),
    ("http://x/ HTTP/1.1\r\nHost: inside", "cannot be seen"),
    ("http://x/\tcat.png", "cannot be seen"),
    ("http://" + "x" * 300 + "/", "No picture could be fetched"),
])  # fmt: skip
def test_what_is_no_plain_address_is_refused(tmp_path: Path, url: str, sentence: str) -> None:
    assert sentence in refusal(ImagesOfTheWeb(seconds=60), url, tmp_path / "kept")


def test_an_answer_that_is_no_picture_of_its_own_is_told(internet: Internet, tmp_path: Path) -> None:
    assert "status 404" in refusal(web(), f"http://pictures.example:{internet.port}/none", tmp_path / "kept")
    internet.close()
    assert "refused" in refusal(web(), f"http://pictures.example:{internet.port}/", tmp_path / "kept")


def test_a_certificate_must_be_good_and_of_the_host_that_was_named(tmp_path: Path) -> None:
    secure = Internet(tls=True)
    url = f"https://pictures.example:{secure.port}/cat.png"
    assert "certificate of pictures.example is not good" in refusal(web(), url, tmp_path / "kept")
    trusting = web(tls=ssl.create_default_context(cafile=CERTIFICATE))
    assert trusting.save(url, tmp_path / "kept") == "cat.png"
    other = url.replace("pictures.", "other.")
    assert "certificate of other.example is not good" in refusal(trusting, other, tmp_path / "kept")
    assert len(secure.seen) == 1
    secure.close()


def test_proxies_of_the_environment_are_not_asked(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{INSIDE}:{internet.port}")
    web().save(f"http://pictures.example:{internet.port}/", tmp_path / "kept")
    assert [address for address, _ in internet.seen] == [PUBLIC]


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
    "192.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "100::1",
])  # fmt: skip
def test_addresses_that_are_not_of_the_internet(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [
    "93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1",
])  # fmt: skip
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_picture_of_the_web_goes_through_a_network(site: Site, trained: str, internet: Internet) -> None:
    web_site = f"http://pictures.example:{internet.port}"
    url = f"{web_site}/a%20digit.png"
    assert "or a URL" in site.client.get(f"/models/{trained}").get_data(as_text=True)
    page = site.client.post("/models/images/generic/infer_one", data={"job_id": trained, "image_path": url})
    assert page.status_code == 200
    assert "a digit.png" in page.get_data(as_text=True)
    answer = site.client.post(
        "/models/images/generic/infer_one.json", data={"job_id": trained, "image_path": f"{web_site}/none"}
    )
    assert answer.status_code == 400
    assert "status 404" in answer.get_json()["error"]["message"]
    assert [*site.services.settings.uploads_dir.iterdir()] == [], "nothing of it is kept"


def test_without_the_option_nothing_is_fetched(
    settings: Settings, site: Site, trained: str, internet: Internet
) -> None:
    assert settings.images_of_the_web is None
    app = create_app(replace(site.services.settings, images_of_the_web=None))
    client = app.test_client()
    assert "or a URL" not in client.get(f"/models/{trained}").get_data(as_text=True)
    url = f"http://pictures.example:{internet.port}/cat.png"
    answer = client.post("/models/images/generic/infer_one.json", data={"job_id": trained, "image_path": url})
    assert answer.status_code == 400
    assert "--allow-image-url" in answer.get_json()["error"]["message"]
    assert internet.seen == []
    app.extensions["layerscope"].close()


def test_the_option_of_a_real_server_allows_public_addresses_only(
    tmp_path: Path, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERSCOPE_ALLOW_IMAGE_URL", "1")
    _, model = write_past_jobs(Settings(tmp_path), 2)
    server = start_server(tmp_path)
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
        form = {"job_id": model, "image_path": f"http://{host}:{internet.port}/cat.png"}
        answer = requests.post(f"{server.url}/models/images/generic/infer_one.json", data=form, timeout=60)
        assert answer.status_code == 400
        assert "not public" in answer.json()["error"]["message"]
    assert internet.seen == []
    server.stop()

"""A page of another site gets nothing and changes nothing, and what is sent can do nothing in a browser but what it is for."""

import re
from itertools import product
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import RunningServer
from webapp.access import PROTECTIVE_HEADERS

HERE = "http://localhost"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
FOREIGN_HOSTS = (
    "evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil.example", "", "localhost:evil.example",
    "localhost:5000@evil.example", "evil.example#localhost", "localhost, evil.example", "localhost/", "[::1",
    "[::ffff:1.2.3.4]", "localhost.", "0.0.0.0", "127.0.0.2",
)  # fmt: skip
OF_ANOTHER_SITE: tuple[dict[str, str], ...] = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "http://[localhost"},
    {"Origin": "file://localhost"},
    {"Origin": "http://localhost http://evil.example"},
    {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
)
A_LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def every_address(app: Flask) -> set[str]:
    """An address of each route, static files and Socket.IO's two transports."""
    routes = {re.sub(r"<[^>]+>", "1", rule.rule) for rule in app.url_map.iter_rules()}
    return routes | {f"/socket.io/?EIO=4&transport={transport}" for transport in ("polling", "websocket")}


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_name_is_refused_everywhere(app: Flask, host: str) -> None:
    client = app.test_client()
    for path, method in product(every_address(app), METHODS):
        answer = client.open(path, method=method, headers={"Host": host})
        assert answer.status_code == 421, (method, path)
    assert "--allow-host" in client.get("/", headers={"Host": host}).get_json()["error"]["message"]


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "LocalHost:80", "[::1]:5000", "[::1]"])
def test_loopback_names_are_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/index.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("headers", OF_ANOTHER_SITE, ids=str)
def test_a_page_of_another_site_gets_and_changes_nothing(app: Flask, headers: dict[str, str]) -> None:
    client = app.test_client()
    for path, method in product(every_address(app), METHODS):
        assert client.open(path, method=method, headers=headers).status_code == 403, (method, path)


def test_a_link_on_another_site_leads_here_and_does_nothing_more(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/", headers=A_LINK).status_code == 200
    for path in every_address(app):
        for method in {*METHODS} - {"GET", "HEAD"}:
            assert client.open(path, method=method, headers=A_LINK).status_code == 403, (method, path)
    assert client.get("/socket.io/?EIO=4&transport=polling", headers=A_LINK).status_code == 403


def test_a_socket_with_a_cookie_and_without_an_origin_is_refused(app: Flask) -> None:
    """A browser names the origin; what does not is no page of ours, and must not use a visitor's cookie."""
    socket = {"Upgrade": "websocket", "Connection": "Upgrade", "Cookie": "session=1"}
    client = app.test_client(use_cookies=False)
    assert client.get("/socket.io/?EIO=4&transport=websocket", headers=socket).status_code == 403


def test_our_own_pages_and_clients_without_a_browser_are_answered(client: FlaskClient) -> None:
    for headers in ({"Origin": HERE}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        assert client.post("/models/starter-network", headers=headers).status_code == 200


def test_no_view_that_changes_something_answers_to_get(app: Flask) -> None:
    reading = {"job_actions.clone"}  # a redirect to a form, by either method, as DIGITS had it
    methods: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        methods.setdefault(rule.endpoint, set()).update(rule.methods or ())
    both = {name for name, allowed in methods.items() if "GET" in allowed and allowed & {"POST", "PUT", "DELETE"}}
    assert both == reading


def test_pages_run_only_scripts_of_ours_and_stand_in_no_frame(client: FlaskClient) -> None:
    for path in ("/", "/datasets/images/generic/new", "/models/images/generic/new", "/nowhere"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert ("nonce" in policy) == (path == "/models/images/generic/new"), "only the editor makes styles"
    nonces = {client.get("/models/images/generic/new").headers["Content-Security-Policy"] for _ in range(3)}
    assert len(nonces) == 3


def test_templates_and_scripts_have_no_code_in_markup() -> None:
    root = Path(__file__).parents[2]
    for template in (root / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<[^>]*\s(on\w+|style)=", text), template
        assert "javascript:" not in text, template
        for script in re.findall(r"<script\b([^>]*)>", text):
            assert "src=" in script or 'type="application/json"' in script, template
        assert not re.search(r"\|\s*safe\b|autoescape false", text), template
    for script in (root / "static" / "js").rglob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", script.read_text()), (
            script
        )


def test_every_answer_carries_the_protective_headers(app: Flask) -> None:
    client = app.test_client()
    foreign = {"Host": "evil.example"}
    answers = [client.get("/try-it"), client.get("/", headers=foreign), client.get("/static/icon.svg")]
    answers += [client.get(path) for path in every_address(app)]
    for answer in answers:
        own = {"Content-Security-Policy"} if answer.mimetype == "text/html" else set()
        for name in PROTECTIVE_HEADERS.keys() - own:
            assert answer.headers.getlist(name) == [PROTECTIVE_HEADERS[name]], (answer.request.path, name)
        assert len(answer.headers.getlist("Content-Security-Policy")) == 1


def test_a_real_server_sends_them_with_files_errors_and_refusals_of_its_own(server: RunningServer) -> None:
    for path in ("/", "/static/dist/main.js", "/nowhere", "/socket.io/?EIO=4&transport=polling"):
        for headers in ({}, {"Host": "evil.example"}):
            answer = requests.get(f"{server.url}{path}", headers=headers, timeout=60)
            assert PROTECTIVE_HEADERS.keys() <= {*answer.headers}, path

"""A page of another site gets nothing and changes nothing."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

HERE = "http://localhost"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/index.json", "/socket.io/?EIO=4&transport=polling", "/static/dist/main.js"])
def test_a_foreign_host_name_is_refused_everywhere(client: FlaskClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert "--allow-host" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "[::1]:5000", "[::1]"])
def test_loopback_names_are_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/index.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/try-it"),
    ("POST", "/datasets/images/classification"),
    ("POST", "/models/images/generic.json"),
    ("POST", "/models/visualize-network"),
    ("POST", "/models/show-python"),
    ("POST", "/models/end-check"),
    ("POST", "/models/images/generic/infer_one"),
    ("PUT", "/jobs/20200101-000000-0000"),
    ("DELETE", "/jobs/20200101-000000-0000"),
    ("DELETE", "/jobs"),
    ("POST", "/abort_jobs"),
    ("GET", "/socket.io/?EIO=4&transport=polling"),
    ("GET", "/socket.io/?EIO=4&transport=websocket"),
])  # fmt: skip
def test_another_site_can_change_nothing(client: FlaskClient, method: str, path: str, headers: dict[str, str]) -> None:
    assert client.open(path, method=method, headers=headers).status_code == 403


def test_our_own_pages_and_clients_without_a_browser_are_answered(client: FlaskClient) -> None:
    for headers in ({"Origin": HERE}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert client.post("/models/starter-network", headers=headers).status_code == 200


def test_no_view_that_changes_something_answers_to_get(app: Flask) -> None:
    reading = {"job_actions.clone"}  # a redirect to a form, by either method, as DIGITS had it
    methods: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        methods.setdefault(rule.endpoint, set()).update(rule.methods or ())
    both = {name for name, allowed in methods.items() if "GET" in allowed and allowed & {"POST", "PUT", "DELETE"}}
    assert both == reading


def test_pages_allow_no_inline_scripts_and_no_frames(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert "frame-ancestors 'none'" in policy
    nonces = {client.get("/").headers["Content-Security-Policy"] for _ in range(3)}
    assert len(nonces) == 3

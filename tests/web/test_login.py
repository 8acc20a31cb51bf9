"""Who has an account gets in with the password, a session or a token, and nobody else does."""

import re
import stat
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from jobs.errors import UserError
from tests.web import payloads
from tests.web.people import JSON, PASSWORD, People
from webapp import create_app
from webapp.accounts import SESSION_SECONDS, Accounts, CredentialKind, Role
from webapp.config import Settings
from webapp.identity import LABEL_COOKIE, OPEN_ENDPOINTS, SESSION_COOKIE
from webapp.login_attempts import (
    FREE_ATTEMPTS,
    LONGEST_WAIT,
    MEMORY_SECONDS,
    MOST_REMEMBERED,
    LoginAttempts,
    key_of_address,
    key_of_name,
)
from webapp.services import Services

HTML = {"Accept": "text/html"}
EVIL_PATHS = (
    "//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
    "http:evil.example", "javascript:alert(1)", "evil.example", "/ /evil.example", "/\t/evil.example", "/\n/evil.example",
    "", " /jobs", "/%0d%0a/../\\evil",
)  # fmt: skip


def secret_of(client: FlaskClient) -> str:
    cookie = client.get_cookie(SESSION_COOKIE)
    assert cookie is not None
    return cookie.value


# Where nobody has an account


def test_without_accounts_a_name_is_a_label_as_in_digits(client: FlaskClient, digit_folders: Path) -> None:
    assert client.get("/index.json").status_code == 200
    assert "none is needed" in client.get("/login").get_data(as_text=True)
    answer = client.post("/login", data={"username": "fred"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert client.get_cookie(LABEL_COOKIE).value == "fred"  # type: ignore[union-attr]
    assert ">fred<" in client.get("/").get_data(as_text=True)
    form = payloads.classification(digit_folders)
    made = client.post("/datasets/images/classification.json", data=form).get_json()["id"]
    assert client.get(f"/jobs/{made}/table_data.json").get_json()["job"]["username"] == "fred"
    # Another name changes it all the same: a label opens and closes nothing.
    client.post("/login", data={"username": "wilma"})
    assert client.put(f"/jobs/{made}", data={"job_name": "renamed"}).status_code == 200
    client.post("/logout")
    assert client.get_cookie(LABEL_COOKIE) is None


def test_clients_of_digits_may_send_the_name_with_a_form(client: FlaskClient, digit_folders: Path) -> None:
    form = payloads.classification(digit_folders) | {"username": "barney"}
    made = client.post("/datasets/images/classification.json", data=form).get_json()["id"]
    assert client.get(f"/jobs/{made}/table_data.json").get_json()["job"]["username"] == "barney"


@pytest.mark.parametrize("name", ["", "1fred", "fr ed", "fred<b>", "../fred", "fred;", "f" * 65, "frëd"])
def test_a_bad_name_is_refused_as_in_digits(client: FlaskClient, name: str) -> None:
    answer = client.post("/login", data={"username": name})
    assert answer.status_code == 400
    assert "Invalid username - " in answer.get_data(as_text=True)
    assert client.get_cookie(LABEL_COOKIE) is None


def test_no_job_can_be_private_where_nobody_logs_in(client: FlaskClient, digit_folders: Path) -> None:
    form = payloads.classification(digit_folders, private="1")
    answer = client.post("/datasets/images/classification.json", data=form)
    assert "where people log in" in answer.get_json()["errors"]["private"][0]
    assert 'name="private"' not in client.get("/datasets/images/classification/new").get_data(as_text=True)


# Nothing without a login


def test_every_address_asks_for_a_login_but_those_that_are_named_as_open(people: People) -> None:
    client = people.stranger()
    for rule in people.app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in rule.methods or ():
            if rule.endpoint in OPEN_ENDPOINTS or method == "OPTIONS":
                continue
            assert client.open(path, method=method, headers=JSON).status_code == 401, (method, path)
            page = client.open(path, method=method, headers=HTML)
            expected = 302 if method in ("GET", "HEAD") and not path.endswith(".json") else 401
            assert page.status_code == expected, (method, path)
    assert client.get("/nowhere", headers=JSON).status_code == 401, "not even what there is not is told"
    assert {endpoint for endpoint in OPEN_ENDPOINTS if endpoint not in people.app.view_functions} == set()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_socket_asks_for_a_login(people: People, transport: str) -> None:
    path = f"/socket.io/?EIO=4&transport={transport}"
    for sid in ("", "&sid=", "&sid"):
        assert people.stranger().get(path + sid).status_code == 401
    assert people.stranger().get(f"{path}&sid=guessed").status_code == 400, "no connection has this id"
    assert people["bob"].get(path.replace("websocket", "polling")).status_code == 200


def test_the_sentence_says_what_to_do(people: People) -> None:
    answer = people.stranger().get("/index.json")
    assert answer.get_json()["error"]["message"] == "You are not logged in, or not any more."
    assert "Bearer" in answer.get_json()["error"]["description"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_page_leads_to_the_login_and_back(people: People) -> None:
    client = people.stranger()
    to_login = client.get("/datasets/images/classification/new?x=1", headers=HTML).headers["Location"]
    assert to_login == "/login?next=/datasets/images/classification/new?x%3D1"
    assert 'value="/datasets/images/classification/new?x=1"' in client.get(to_login).get_data(as_text=True)
    data = {"username": "Bob", "password": PASSWORD, "next": "/datasets/images/classification/new?x=1"}
    answer = client.post("/login", data=data)
    assert answer.headers["Location"] == "/datasets/images/classification/new?x=1"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", EVIL_PATHS)
def test_the_login_leads_to_no_other_site(people: People, client: FlaskClient, path: str) -> None:
    assert client.post("/login", data={"username": "bob", "next": path}).headers["Location"] == "/"
    page = people.stranger().get("/login", query_string={"next": path}).get_data(as_text=True)
    assert 'name="next" value="/"' in page


def test_what_was_shown_to_one_person_is_not_kept_for_the_next(people: People) -> None:
    for path in ("/", "/index.json", "/account"):
        answer = people["bob"].get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Cookie" in answer.headers["Vary"]


# Sessions


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_can_use(people: People) -> None:
    answer = people.stranger().post("/login", data={"username": "bob", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    secure = people.stranger().post(
        "/login", base_url="https://localhost", data={"username": "bob", "password": PASSWORD}
    )
    assert "Secure" in secure.headers["Set-Cookie"]


def test_who_logs_out_is_out_and_an_old_cookie_is_good_for_nothing(people: People) -> None:
    client = people.log_in("bob")
    secret = secret_of(client)
    assert client.post("/logout").headers["Location"] == "/"
    assert client.get("/index.json").status_code == 401
    client.set_cookie(SESSION_COOKIE, secret)
    assert client.get("/index.json").status_code == 401


def test_a_new_password_ends_all_sessions_but_the_one_that_chose_it(people: People) -> None:
    name, new = people.add("carol"), "another correct horse"
    here, elsewhere = people.log_in(name), people.log_in(name)
    token = here.post("/account/tokens", data={"description": "script"}, headers=JSON).get_json()["token"]
    fields = {"current": PASSWORD, "password": new, "again": new}
    for wrong, sentence in (
        ({"current": "not this one"}, "current password is another one"),
        ({"again": "something else"}, "differ"),
        ({"password": "short", "again": "short"}, "too short"),
        ({"password": name * 2 + "aaaa", "again": name}, "differ"),
    ):
        answer = here.post("/account/password", data=fields | wrong)
        assert answer.status_code == 400
        assert sentence in answer.get_data(as_text=True)
        assert elsewhere.get("/index.json").status_code == 200
    assert here.post("/account/password", data=fields).status_code == 302
    assert here.get("/index.json").status_code == 200
    assert elsewhere.get("/index.json").status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert people.stranger().get("/index.json", headers=bearer).status_code == 200, "tokens are revoked one by one"
    old = people.stranger().post("/login", data={"username": name, "password": PASSWORD})
    assert old.status_code == 401
    people.log_in(name, new)


def test_a_session_that_began_with_a_password_of_before_does_not_begin(people: People) -> None:
    """The password is changed while it is looked at."""
    name = people.add("dora")
    accounts = people.accounts
    right_hash = accounts._right_hash

    def slow_look(name: str, password: str) -> str | None:
        found = right_hash(name, password)
        accounts.set_password(name, "changed meanwhile")
        return found

    accounts._right_hash = slow_look  # type: ignore[method-assign]
    try:
        assert accounts.log_in(name, PASSWORD, "", "") is None
    finally:
        accounts._right_hash = right_hash  # type: ignore[method-assign]
    assert accounts.credentials_of(name, CredentialKind.SESSION) == []


def test_all_other_sessions_can_be_ended(people: People) -> None:
    name = people.add("finn")
    here, elsewhere = people.log_in(name), people.log_in(name)
    page = here.get("/account").get_data(as_text=True)
    assert page.count(">10.0.") == 2
    assert here.post("/account/end-other-sessions", headers=JSON).get_json()["message"].startswith("All other")
    assert here.get("/index.json").status_code == 200
    assert elsewhere.get("/index.json").status_code == 401


def test_a_new_password_revokes_tokens_where_that_is_asked(people: People) -> None:
    name, other = people.add("lena"), "yet another password"
    client = people.log_in(name)
    bearer = {"Authorization": f"Bearer {people.accounts.add_token(name, 'nightly')}"}
    assert "Revoke all API tokens, too" in client.get("/account").get_data(as_text=True)
    passwords = {"current": PASSWORD, "password": other, "again": other}
    told = client.post("/account/password", data=passwords, headers=JSON).get_json()["message"]
    assert "tokens are as they were" in told
    assert people.stranger().get("/index.json", headers=bearer).status_code == 200
    back = {"current": other, "password": PASSWORD, "again": PASSWORD, "revoke_tokens": "1"}
    assert "tokens are revoked" in client.post("/account/password", data=back, headers=JSON).get_json()["message"]
    assert people.stranger().get("/index.json", headers=bearer).status_code == 401
    page = client.get("/account").get_data(as_text=True)
    assert "Revoke all API tokens" not in page, "there are none"


def test_what_the_command_line_changes_holds_at_once(people: People) -> None:
    name = people.add("gina")
    beside = Accounts(people.services.settings.accounts_database)
    changes = (
        lambda: beside.set_role(name, Role.ADMIN),
        lambda: beside.set_password(name, PASSWORD),
        lambda: beside.remove(name),
    )
    for change in changes:
        client = people.log_in(name)
        change()
        assert client.get("/index.json").status_code == 401
    beside.close()
    assert people.stranger().post("/login", data={"username": name, "password": PASSWORD}).status_code == 401


def test_a_session_ends_after_its_time(tmp_path: Path, people: People) -> None:
    now = [1e9]
    accounts = Accounts(tmp_path / "accounts.sqlite", lambda: now[0])
    accounts.add("ada", PASSWORD, Role.MEMBER)
    secret = accounts.log_in("ada", PASSWORD, "", "") or ""
    now[0] += SESSION_SECONDS - 1
    session = accounts.credential(CredentialKind.SESSION, secret)
    assert session is not None
    accounts.note_use(session)
    now[0] += 2
    assert accounts.credential(CredentialKind.SESSION, secret) is None
    assert accounts.still_good({session.id}) == set()
    assert session.user.role is Role.ADMIN, "the first account is an admin's"


def test_the_only_admin_stays_one(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite")
    accounts.add("ada", PASSWORD, Role.MEMBER)
    accounts.add("bob", PASSWORD, Role.MEMBER)
    for change in (lambda: accounts.set_role("ada", Role.MEMBER), lambda: accounts.remove("ada")):
        with pytest.raises(UserError, match="only admin"):
            change()
    assert [user.role for user in accounts.users()] == [Role.ADMIN, Role.MEMBER]


# Tokens


def test_a_token_stands_for_its_owner_until_it_is_revoked(people: People) -> None:
    name = people.add("hugo")
    client, program = people.log_in(name), people.stranger()
    page = client.post("/account/tokens", data={"description": "<i>nightly</i>"}).get_data(as_text=True)
    token = re.search(r'data-copy="(layerscope_[^"]+)"', page)[1]  # type: ignore[index]
    assert "&lt;i&gt;nightly" in page
    assert token not in client.get("/account").get_data(as_text=True), "it is shown once"
    bearer = {"Authorization": f"Bearer {token}"}
    form = payloads.classification(people.digits)
    made = program.post("/datasets/images/classification.json", data=form, headers=bearer).get_json()["id"]
    assert people.services.store.get(made).owner == name
    (kept,) = people.accounts.credentials_of(name, CredentialKind.TOKEN)
    assert kept.last_used > kept.created, "it was used at once"
    for path in ("/account/tokens", "/account/password", "/account/end-other-sessions"):
        answer = program.post(path, headers=bearer | JSON)
        assert answer.status_code == 403, "a token makes no other"
    assert people["eve"].post(f"/account/tokens/{kept.id}/revoke").status_code == 404
    assert client.post(f"/account/tokens/{kept.id}/revoke").status_code == 302
    assert program.get("/index.json", headers=bearer).status_code == 401
    # A wrong token is refused, whatever cookie comes with it.
    assert client.get("/index.json", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "bearer x", "Bearer \xff", "Token x", "Basic YTpi", "Bearer a b c"]
)
def test_other_authorizations_are_none(people: People, header: str) -> None:
    assert people.stranger().get("/index.json", headers={"Authorization": header}).status_code == 401


def test_a_secret_of_one_kind_is_none_of_the_other(people: People) -> None:
    client = people.log_in("bob")
    secret = secret_of(client)
    assert people.stranger().get("/index.json", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    token = people.accounts.add_token("bob", "test")
    stranger = people.stranger()
    stranger.set_cookie(SESSION_COOKIE, token)
    assert stranger.get("/index.json").status_code == 401


def test_the_file_of_accounts_holds_no_secret_and_is_its_owners_alone(people: People) -> None:
    client = people.log_in("eve")
    secret = secret_of(client)
    token = client.post("/account/tokens", data={"description": "x"}, headers=JSON).get_json()["token"]
    files = list(people.services.settings.data_dir.glob("accounts.sqlite*"))
    assert len(files) >= 2
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes()
        assert not any(word.encode() in content for word in (secret, token, PASSWORD))
    assert b"scrypt:" in b"".join(file.read_bytes() for file in files)


# Guessing


def test_a_name_that_nobody_has_looks_like_a_wrong_password(people: People) -> None:
    people.add("ivan")
    seconds: dict[str, float] = {}
    answers = {}
    for name in ("ivan", "nobody-at-all"):
        took = []
        for _ in range(3):
            began = time.thread_time()
            answer = people.stranger().post("/login", data={"username": name, "password": "wrong" * 4}, headers=JSON)
            took.append(time.thread_time() - began)
            answers[name] = (answer.status_code, answer.get_data())
        seconds[name] = min(took)
    assert answers["ivan"] == answers["nobody-at-all"]
    assert answers["ivan"][0] == 401
    assert seconds["nobody-at-all"] > seconds["ivan"] / 2, "neither is answered without a look"


@pytest.fixture
def clock_that_stands_still(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a hash takes, the wait after guesses is not over meanwhile."""
    monkeypatch.setattr(people.services.login_attempts, "_clock", lambda: 1000.0)


@pytest.mark.usefixtures("clock_that_stands_still")
def test_who_guesses_has_to_wait(people: People) -> None:
    guesser = people.stranger()
    for index in range(FREE_ATTEMPTS):
        answer = guesser.post("/login", data={"username": f"guess-{index}", "password": "x"})
        assert answer.status_code == 401
    answer = guesser.post("/login", data={"username": "bob", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert "Try again in 1 second." in answer.get_data(as_text=True)
    people.log_in("bob")  # from elsewhere


@pytest.mark.usefixtures("clock_that_stands_still")
def test_guessing_at_a_name_from_many_places_does_not_keep_its_owner_out(people: People) -> None:
    name = people.add("judy")
    people.log_in(name, address="10.9.9.9")
    for _ in range(FREE_ATTEMPTS):
        assert people.stranger().post("/login", data={"username": name, "password": "x"}).status_code == 401
    assert people.stranger().post("/login", data={"username": name, "password": PASSWORD}).status_code == 429
    people.log_in(name, address="10.9.9.9")


def test_a_visitor_behind_a_proxy_has_the_address_that_the_proxy_says(tmp_path: Path) -> None:
    """It adds that to whatever the visitor has said of it before."""
    app = create_app(Settings(data_dir=tmp_path / "data", behind_proxy=True))
    services: Services = app.extensions["layerscope"]
    services.accounts.add("ada", PASSWORD, Role.ADMIN)
    services.login_attempts._clock = lambda: 1000.0

    def log_in(claimed: str, address: str, password: str) -> TestResponse:
        headers = {"X-Forwarded-For": f"{claimed}, {address}", "X-Forwarded-Proto": "https"}
        form = {"username": "ada", "password": password}
        return app.test_client().post("/login", data=form, headers=headers)

    answer = log_in("10.0.0.1", "203.0.113.9", PASSWORD)
    assert "Secure; HttpOnly" in answer.headers["Set-Cookie"]
    (session,) = services.accounts.credentials_of("ada", CredentialKind.SESSION)
    assert session.address == "203.0.113.9"
    for number in range(FREE_ATTEMPTS):
        assert log_in(f"203.0.113.{number}", "198.51.100.7", "wrong password").status_code == 401
    assert log_in("203.0.113.9", "198.51.100.7", PASSWORD).status_code == 429
    assert log_in("198.51.100.7", "203.0.113.9", PASSWORD).status_code == 302
    services.close()


def test_without_a_proxy_nobody_says_whose_a_request_is(people: People) -> None:
    name = people.add("mona")
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    form = {"username": name, "password": PASSWORD}
    answer = people.stranger("10.8.8.8").post("/login", data=form, headers=headers)
    assert "Secure" not in answer.headers["Set-Cookie"]
    (session,) = people.accounts.credentials_of(name, CredentialKind.SESSION)
    assert session.address == "10.8.8.8"


def test_waits_grow_and_end() -> None:
    now = [0.0]
    attempts = LoginAttempts(lambda: now[0])
    for _ in range(FREE_ATTEMPTS):
        assert attempts.begin(["ada", "there"]) == 0
    waits = []
    for _ in range(10):
        wait = attempts.begin(["ada"])
        waits.append(wait)
        now[0] += wait / 2
        assert attempts.begin(["ada"]) == pytest.approx(wait / 2), "an attempt during the wait neither counts nor helps"
        now[0] += wait / 2
        assert attempts.begin(["ada"]) == 0
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert attempts.begin(["bob", "elsewhere"]) == 0
    now[0] += MEMORY_SECONDS + 1
    assert attempts.begin(["ada", "there"]) == 0


def test_a_success_is_no_failure_and_hides_none() -> None:
    attempts = LoginAttempts(lambda: 0.0)
    for _ in range(3 * FREE_ATTEMPTS):
        assert attempts.begin(["there"]) == 0
        attempts.succeeded(["there"])
    for _ in range(FREE_ATTEMPTS):
        attempts.begin(["there"])
        if not attempts.begin(["there"]):
            attempts.succeeded(["there"])
    assert attempts.begin(["there"]) > 0, "who has an account must not guess at others between their own logins"


def test_many_addresses_do_not_fill_the_memory() -> None:
    attempts = LoginAttempts(lambda: 0.0)
    for number in range(20_000):
        attempts.begin([("address", number), ("name", number)])
    assert len(attempts._failures) <= MOST_REMEMBERED


def test_names_that_nobody_can_have_are_remembered_as_one() -> None:
    """Each of them could be megabytes long."""
    attempts = LoginAttempts(lambda: 0.0)
    for number in range(FREE_ATTEMPTS):
        assert attempts.begin([key_of_name(f"{number} " * 2**18)]) == 0
    assert attempts.begin([key_of_name("")]) == 1
    assert attempts.begin([key_of_name("ada")]) == 0
    assert sum(len(str(key)) for key in attempts._failures) < 100


@pytest.mark.parametrize(("guesser", "again"), [
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
    ("fe80::1%eth0", "fe80::2"),
    ("::ffff:203.0.113.9", "203.0.113.9"),
    ("unknown", "x" * 2**20),
])  # fmt: skip
def test_another_address_of_the_same_place_has_no_attempts_of_its_own(guesser: str, again: str) -> None:
    assert key_of_address(guesser) == key_of_address(again)
    assert len(str(key_of_address(again))) < 100


def test_other_places_have_attempts_of_their_own() -> None:
    places = ("2001:db8:1:2::1", "2001:db8:1:3::1", "203.0.113.9", "203.0.113.10", "::1", "unknown")
    assert len({key_of_address(place) for place in places}) == len(places)


@pytest.mark.usefixtures("clock_that_stands_still")
def test_who_guesses_from_many_addresses_of_one_place_has_to_wait(people: People) -> None:
    def guess(number: int) -> int:
        form = {"username": f"nobody-{number}", "password": "x"}
        return people.stranger(f"2001:db8:9:9::{number:x}").post("/login", data=form).status_code

    assert [guess(number) for number in range(FREE_ATTEMPTS + 1)] == [401] * FREE_ATTEMPTS + [429]


@pytest.mark.parametrize("password", ["", "a", "ninechars", "aaaaaaaaaaaa", "kim.long-name", "x" * 1001])
def test_a_password_that_is_easily_guessed_is_refused(people: People, password: str) -> None:
    with pytest.raises(UserError, match="password is too"):
        people.accounts.add("kim.long-name", password, Role.MEMBER)

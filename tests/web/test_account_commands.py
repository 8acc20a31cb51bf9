"""`layerscope user` and `layerscope token`, as whoever runs the server types them."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from webapp.accounts import Accounts, CredentialKind
from webapp.cli import main

PASSWORD = "correct horse battery"
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run a command on a data directory of its own; `typed` are the lines that a person types."""

    def run(*arguments: str, typed: str = "") -> Result:
        result = CliRunner().invoke(main, [*arguments, "--data-dir", str(tmp_path / "data")], input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    (tmp_path / "data").mkdir()
    return Accounts(tmp_path / "data" / "accounts.sqlite")


def test_the_first_account_is_an_admins(command: Command) -> None:
    assert "Nobody has an account" in command("user", "list").output
    asked = command("user", "add", "ada", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert "ada can log in now, as an admin." in asked.output
    assert PASSWORD not in asked.output
    assert "as a member" in command("user", "add", "bob", "--password-stdin", typed=f"{PASSWORD}\n").output
    assert [line.split()[:2] for line in command("user", "list").output.splitlines()] == [
        ["ada", "admin"],
        ["bob", "member"],
    ]
    told = command("user", "add", "bob", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (told.exit_code, "There is an account bob already" in told.output) == (1, True)


def test_a_password_is_asked_until_it_is_good_and_typed_the_same_twice(command: Command, accounts: Accounts) -> None:
    typed = f"tiny-pw\n{PASSWORD}\nanother one\n{PASSWORD}\n{PASSWORD}\n"
    told = command("user", "add", "ada", typed=typed)
    assert "too short" in told.output
    assert "do not match" in told.output
    assert accounts.is_password("ada", PASSWORD)
    assert command("user", "add", "bob", "--password-stdin", typed="short\n").exit_code == 1
    assert command("user", "add", "bob", "--password-stdin").exit_code == 1


@pytest.mark.parametrize("name", ["Ada", "a b", "../a", "1a"])
def test_a_bad_name_is_told_before_a_password_is_asked(command: Command, name: str) -> None:
    told = command("user", "add", name)
    assert told.exit_code == 1
    assert "is no name for a user" in told.output
    assert "Password" not in told.output


def test_what_is_changed_ends_the_sessions(command: Command, accounts: Accounts) -> None:
    for name in ("ada", "bob"):
        command("user", "add", name, "--password-stdin", typed=f"{PASSWORD}\n")
    new = "another good password"
    changes = (("password", "bob", "--password-stdin"), ("role", "bob", "admin"), ("remove", "bob"))
    password = PASSWORD
    for change in changes:
        secret = accounts.log_in("bob", password, "", "") or ""
        assert accounts.credential(CredentialKind.SESSION, secret)
        assert command("user", *change, typed=f"{new}\n").exit_code == 0
        assert accounts.credential(CredentialKind.SESSION, secret) is None
        password = new
    assert [user.name for user in accounts.users()] == ["ada"]


def test_somebody_stays_an_admin(command: Command) -> None:
    for name in ("ada", "bob"):
        command("user", "add", name, "--password-stdin", typed=f"{PASSWORD}\n")
    for change in (("role", "ada", "member"), ("remove", "ada")):
        told = command("user", *change)
        assert (told.exit_code, "This is the only admin" in told.output) == (1, True)
    assert "last account" not in command("user", "remove", "bob").output
    assert "That was the last account" in command("user", "remove", "ada").output


@pytest.mark.parametrize("arguments", [
    ("user", "password", "eve"), ("user", "role", "eve", "admin"), ("user", "remove", "eve"),
    ("token", "add", "eve", "x"), ("token", "list", "eve"), ("token", "revoke", "eve", "1"),
])  # fmt: skip
def test_an_unknown_name_is_told(command: Command, arguments: tuple[str, ...]) -> None:
    told = command(*arguments)
    assert told.exit_code == 1
    assert "There is no account eve." in told.output


def test_tokens_from_the_command_line(command: Command, accounts: Accounts) -> None:
    command("user", "add", "ada", "--password-stdin", typed=f"{PASSWORD}\n")
    assert "has no tokens" in command("token", "list", "ada").output
    token = command("token", "add", "ada", "nightly runs").output.strip()
    found = accounts.credential(CredentialKind.TOKEN, token)
    assert found is not None
    (line,) = command("token", "list", "ada").output.splitlines()
    assert line.startswith(str(found.id))
    assert line.endswith("last used never  nightly runs")
    assert command("token", "revoke", "ada", "999").exit_code == 1
    assert command("token", "revoke", "ada", str(found.id)).exit_code == 0
    assert accounts.credential(CredentialKind.TOKEN, token) is None
    assert command("token", "add", "ada", " ").exit_code == 1
    token = accounts.add_token("ada", "nightly runs")
    typed = f"{PASSWORD}\n"
    assert "API tokens stay" in command("user", "password", "ada", "--password-stdin", typed=typed).output
    assert accounts.credential(CredentialKind.TOKEN, token) is not None
    changed = command("user", "password", "ada", "--revoke-tokens", "--password-stdin", typed=typed)
    assert "No API token is good" in changed.output
    assert accounts.credential(CredentialKind.TOKEN, token) is None


def test_a_file_of_accounts_that_cannot_be_read_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "accounts.sqlite").write_text("This is a text, longer than a header of SQLite. " * 10)
    told = command("user", "list")
    assert told.exit_code == 1
    assert "cannot be used: file is not a database" in told.output


def test_a_day_that_is_none_is_damage(command: Command, tmp_path: Path) -> None:
    """As one flipped bit of a number makes it; SQLite finds nothing wrong with that."""
    command("user", "add", "ada", "--password-stdin", typed=f"{PASSWORD}\n")
    with closing(sqlite3.connect(tmp_path / "data" / "accounts.sqlite")) as file:
        file.execute("UPDATE users SET created = created * 1e150")
        file.commit()
    told = command("user", "list")
    assert told.exit_code == 1
    assert "accounts.sqlite cannot be used" in told.output
    assert "is no moment" in told.output


def test_a_file_of_accounts_that_is_damaged_is_told_and_left_alone(command: Command, tmp_path: Path) -> None:
    """Where nobody seems to have an account, everybody is let in."""
    command("user", "add", "ada", "--password-stdin", typed=f"{PASSWORD}\n")
    file = tmp_path / "data" / "accounts.sqlite"
    good = file.read_bytes()
    chance = random.Random(3)
    used = [place for place, byte in enumerate(good) if byte]
    damaged = [b"", good[:4096]]
    for place in chance.sample(used, 60):
        damaged.append(good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :])
    refusals = 0
    for content in damaged:
        file.write_bytes(content)
        told = command("user", "list")
        assert told.exit_code == 1 or "since" in told.output, told.output
        if told.exit_code:
            assert "accounts.sqlite cannot be used" in told.output
            assert file.read_bytes() == content
            refusals += 1
        assert [path.name for path in file.parent.glob("accounts*")] == ["accounts.sqlite"]
    assert refusals > 20
    file.write_bytes(good)
    assert "ada" in command("user", "list").output


def test_accounts_are_there_without_the_log_of_their_file(command: Command, accounts: Accounts, tmp_path: Path) -> None:
    command("user", "add", "ada", "--password-stdin", typed=f"{PASSWORD}\n")
    assert accounts.any(), "the file is open"
    copy = shutil.copyfile(tmp_path / "data" / "accounts.sqlite", tmp_path / "copy")
    with closing(Accounts(copy)) as alone:
        assert [user.name for user in alone.users()] == ["ada"]

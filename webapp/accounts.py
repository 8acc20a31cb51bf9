"""People, their sessions and their API tokens, in a SQLite file that the server and the command line share."""

import hashlib
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

from jobs.database import Database
from jobs.errors import DamagedDatabase, EnvironmentFault, UserError

SCHEMA = """
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE credentials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a socket that knows one must not meet its successor
    kind TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    description TEXT NOT NULL,             -- of a session its browser, of a token what a person wrote
    address TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,
    last_used REAL NOT NULL,
    expires REAL                           -- NULL: never
);
CREATE INDEX credentials_by_user ON credentials (user_name);
"""
# For a copy of it.
WITHOUT_SESSIONS = "DELETE FROM credentials WHERE kind = 'session'"

NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}")
NAME_RULE = "a lower-case letter, and after it lower-case letters, digits, dots, hyphens and underscores, 64 at most"
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1000
LONGEST_DESCRIPTION = 200
# The year 5138: a moment that lies behind it was never written.
END_OF_CALENDAR = 1e11
SESSION_SECONDS = 30 * 24 * 3600.0
# "Last used" need not be exact; a write for every request would be.
SECONDS_BETWEEN_NOTES = 60.0
# scrypt takes 32 MB each time.
HASHES_AT_ONCE = 2
TOKEN_BEGINNING = "layerscope_"  # noqa: S105  by which a person, or a scanner of secrets, knows one


class Role(StrEnum):
    ADMIN = "admin"
    MEMBER = "member"


class CredentialKind(StrEnum):
    SESSION = "session"
    TOKEN = "token"  # noqa: S105


@dataclass(frozen=True)
class User:
    name: str
    role: Role
    created: float


@dataclass(frozen=True)
class Credential:
    """A session or a token, without its secret: that is known to its owner only."""

    id: int
    kind: CredentialKind
    user: User
    description: str
    address: str
    created: float
    last_used: float


class Accounts(Database):
    """Thread-safe, and open to several processes at once: what one writes the others see with their next question."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)
        try:
            # SQLite would take it for a new one, in which nobody has an account: that would let everybody in.
            if path.exists() and path.stat().st_size == 0:
                raise DamagedDatabase("it is empty")
            super().__init__(path, (SCHEMA,), "accounts")
        except DamagedDatabase as damage:
            raise EnvironmentFault(
                f"The list of accounts {path} cannot be used: {damage}. Put a copy of it in its place, or take it away and "
                'make the accounts anew with "layerscope user add"'
            ) from damage

    def _prepare(self) -> None:
        self.users()
        self._credentials("1", ())

    @contextmanager
    def _changing_users(self) -> Iterator[sqlite3.Connection]:
        """What is said of users stands in the file itself from then on: who lost its log alone would let everybody in."""
        with self._lock:
            with self._transaction() as connection:
                yield connection
            # It is kept already. On a full disk, or where somebody reads for long, it stays in the log.
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    # Users

    def any(self) -> bool:
        """Whether anybody has an account, so that people have to log in."""
        with self._lock:
            return self._connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None

    def user(self, name: str) -> User:
        with self._lock:
            row = self._connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UserError(_unknown(name))
        return _user(row)

    def users(self) -> list[User]:
        with self._lock:
            rows = self._connection.execute("SELECT name, role, created FROM users ORDER BY name").fetchall()
        return [_user(row) for row in rows]

    def add(self, name: str, password: str, role: Role) -> User:
        """Make an account. The first one is an admin's: somebody must be."""
        checked_name(name)
        password_hash = self._hash(checked_password(password, name))
        with self._changing_users() as connection:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise UserError(f"There is an account {name} already. Choose another name.")
            if not connection.execute("SELECT 1 FROM users LIMIT 1").fetchone():
                role = Role.ADMIN
            user = User(name, role, self._clock())
            connection.execute("INSERT INTO users VALUES (?, ?, ?, ?)", (name, role, password_hash, user.created))
        return user

    def set_password(
        self, name: str, password: str, keep: Credential | None = None, revoke_tokens: bool = False
    ) -> None:
        """Change the password and end every session but `keep`. Tokens stay, unless they are to be revoked with it."""
        password_hash = self._hash(checked_password(password, name))
        with self._changing_users() as connection:
            _change_user(connection, "password_hash", name, password_hash)
            _end(connection, name, CredentialKind.SESSION, keep)
            if revoke_tokens:
                _end(connection, name, CredentialKind.TOKEN)

    def set_role(self, name: str, role: Role) -> None:
        """Change the role and end every session."""
        with self._changing_users() as connection:
            _change_user(connection, "role", name, role)
            _refuse_without_admin(connection)
            _end(connection, name, CredentialKind.SESSION)

    def remove(self, name: str) -> None:
        """Remove an account with its sessions and tokens. The jobs that it made keep its name."""
        with self._changing_users() as connection:
            if not connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise UserError(_unknown(name))
            _refuse_without_admin(connection)

    def is_password(self, name: str, password: str) -> bool:
        return self._right_hash(name, password) is not None

    def _right_hash(self, name: str, password: str) -> str | None:
        """The hash of the user's password, if it is this one. A name that nobody has takes as long as a wrong password."""
        with self._lock:
            row = self._connection.execute("SELECT password_hash FROM users WHERE name = ?", (name,)).fetchone()
        password_hash: str = row["password_hash"] if row else self._hash_of_nobody
        with self._hashing:
            is_right = check_password_hash(password_hash, password[:LONGEST_PASSWORD])
        return password_hash if row and is_right else None

    @cached_property
    def _hash_of_nobody(self) -> str:
        return self._hash(secrets.token_urlsafe())

    def _hash(self, password: str) -> str:
        with self._hashing:
            return generate_password_hash(password, method="scrypt")

    # Sessions and tokens

    def log_in(self, name: str, password: str, browser: str, address: str) -> str | None:
        """Begin a session, if this is the password; the secret that its cookie carries."""
        password_hash = self._right_hash(name, password)
        if password_hash is None:
            return None
        secret, expires = secrets.token_urlsafe(32), self._clock() + SESSION_SECONDS
        with self._transaction() as connection:
            # It may have been changed while it was looked at, and that ends what began with the old one.
            is_right = connection.execute(
                "SELECT 1 FROM users WHERE name = ? AND password_hash = ?", (name, password_hash)
            ).fetchone()
            if not is_right:
                return None
            self._enter(connection, CredentialKind.SESSION, secret, name, browser, address, expires)
        return secret

    def add_token(self, user_name: str, description: str) -> str:
        """Make an API token; the token itself, which nobody can read again."""
        description = description.strip()
        if not description or len(description) > LONGEST_DESCRIPTION:
            raise UserError(
                f"Say in 1 to {LONGEST_DESCRIPTION} characters what the token is for, such as: nightly runs."
            )
        secret = TOKEN_BEGINNING + secrets.token_urlsafe(32)
        with self._transaction() as connection:
            if not connection.execute("SELECT 1 FROM users WHERE name = ?", (user_name,)).fetchone():
                raise UserError(_unknown(user_name))
            self._enter(connection, CredentialKind.TOKEN, secret, user_name, description, "", None)
        return secret

    def _enter(self, connection: sqlite3.Connection, kind: CredentialKind, secret: str, user_name: str,
               description: str, address: str, expires: float | None) -> None:  # fmt: skip
        now = self._clock()
        connection.execute("DELETE FROM credentials WHERE expires < ?", (now,))
        connection.execute(
            "INSERT INTO credentials (kind, secret_hash, user_name, description, address, created, last_used, expires) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (kind, _secret_hash(secret), user_name, description[:LONGEST_DESCRIPTION], address, now, now, expires),
        )

    def credential(self, kind: CredentialKind, secret: str) -> Credential | None:
        """The session or token that this secret belongs to, if it is still good."""
        found = self._credentials("secret_hash = ? AND kind = ?", (_secret_hash(secret), kind))
        return found[0] if found else None

    def still_good(self, credential_ids: set[int]) -> set[int]:
        """Those of the sessions and tokens that have not ended."""
        return {credential.id for credential in self._credentials("1", ()) if credential.id in credential_ids}

    def credentials_of(self, user_name: str, kind: CredentialKind) -> list[Credential]:
        """The newest first."""
        return self._credentials("user_name = ? AND kind = ? ORDER BY credentials.id DESC", (user_name, kind))

    def has_logged_in_from(self, user_name: str, address: str) -> bool:
        """Whether a session of this user that is still good began at this address."""
        return bool(self._credentials("user_name = ? AND kind = ? AND address = ?",
                                      (user_name, CredentialKind.SESSION, address)))  # fmt: skip

    def _credentials(self, condition: str, values: tuple[str | int, ...]) -> list[Credential]:
        query = (
            "SELECT credentials.*, name, role, users.created AS user_created FROM credentials "  # noqa: S608
            f"JOIN users ON name = user_name WHERE (expires IS NULL OR expires > ?) AND {condition}"
        )
        with self._lock:
            rows = self._connection.execute(query, (self._clock(), *values)).fetchall()
        return [_credential(row) for row in rows]

    def note_use(self, credential: Credential) -> None:
        """Remember that it was used: the first time, and at most once a minute."""
        now = self._clock()
        was_used = credential.last_used != credential.created
        if was_used and now - credential.last_used < SECONDS_BETWEEN_NOTES:
            return
        with self._transaction() as connection:
            connection.execute("UPDATE credentials SET last_used = ? WHERE id = ?", (now, credential.id))

    def revoke_token(self, user_name: str, token_id: int) -> bool:
        """Whether the user had such a token."""
        with self._transaction() as connection:
            revoked = connection.execute(
                "DELETE FROM credentials WHERE id = ? AND user_name = ? AND kind = ?",
                (token_id, user_name, CredentialKind.TOKEN),
            ).rowcount
        return bool(revoked)

    def end_session(self, session: Credential) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM credentials WHERE id = ?", (session.id,))

    def end_other_sessions(self, keep: Credential) -> None:
        with self._transaction() as connection:
            _end(connection, keep.user.name, CredentialKind.SESSION, keep)


def checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(f"Invalid username - {name[:100]!r} is no name for a user. One is {NAME_RULE}.")
    return name


def checked_password(password: str, name: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise UserError(f"The password is too short: it must have {SHORTEST_PASSWORD} characters or more.")
    if len(password) > LONGEST_PASSWORD:
        raise UserError(f"The password is too long: it must have {LONGEST_PASSWORD} characters or fewer.")
    if password.casefold() == name.casefold() or len(set(password)) == 1:
        raise UserError("The password is too easily guessed: choose one that is not the name, and not one character.")
    return password


def _secret_hash(secret: str) -> str:
    # Of 256 random bits: a slow hash would protect no better.
    return hashlib.sha256(secret.encode()).hexdigest()


def _user(row: sqlite3.Row) -> User:
    return User(row["name"], Role(row["role"]), _moment(row["created"]))


def _credential(row: sqlite3.Row) -> Credential:
    user = User(row["name"], Role(row["role"]), _moment(row["user_created"]))
    kind, created, last_used = CredentialKind(row["kind"]), _moment(row["created"]), _moment(row["last_used"])
    return Credential(row["id"], kind, user, row["description"], row["address"], created, last_used)


def _moment(seconds: float) -> float:
    """Seconds since 1970 that are a day of our calendar; ValueError for others, which a damaged file may hold."""
    if not 0 <= seconds < END_OF_CALENDAR:
        raise ValueError(f"{seconds} is no moment")
    return seconds


def _unknown(name: str) -> str:
    return f"There is no account {name[:100]}. `layerscope user list` shows those that there are."


def _change_user(connection: sqlite3.Connection, column: str, name: str, value: str) -> None:
    changed = connection.execute(f"UPDATE users SET {column} = ? WHERE name = ?", (value, name)).rowcount  # noqa: S608
    if not changed:
        raise UserError(_unknown(name))


def _end(connection: sqlite3.Connection, name: str, kind: CredentialKind, keep: Credential | None = None) -> None:
    """End every session, or revoke every token, of a user."""
    connection.execute(
        "DELETE FROM credentials WHERE user_name = ? AND kind = ? AND id IS NOT ?", (name, kind, keep and keep.id)
    )


def _refuse_without_admin(connection: sqlite3.Connection) -> None:
    """Raise UserError, and so take back the transaction, where accounts are left and none is an admin's."""
    admins, members = (
        connection.execute("SELECT count(*) FROM users WHERE role = ?", (role,)).fetchone()[0]
        for role in (Role.ADMIN, Role.MEMBER)
    )
    if members and not admins:
        raise UserError("This is the only admin. Make another account an admin first.")

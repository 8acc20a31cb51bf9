"""A site where people have accounts: ada is an admin, bob and eve are members."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from jobs.folder import JobFolder
from jobs.statuses import Status
from tests.conftest import save_digits
from tests.web import payloads
from webapp import create_app
from webapp.accounts import Accounts, Role
from webapp.config import Settings
from webapp.services import Services

PASSWORD = "correct horse battery"
ROLES = {"ada": Role.ADMIN, "bob": Role.MEMBER, "eve": Role.MEMBER}
JSON = {"Accept": "application/json"}


@dataclass
class People:
    """The site, whose scheduler does not run: jobs stay as they are entered."""

    app: Flask
    services: Services
    digits: Path
    clients: dict[str, FlaskClient] = field(default_factory=dict)
    addresses: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def accounts(self) -> Accounts:
        return self.services.accounts

    def stranger(self, address: str = "") -> FlaskClient:
        """A browser that nobody has logged in with, from an address of its own."""
        client = self.app.test_client()
        number = next(self.addresses)
        client.environ_base["REMOTE_ADDR"] = address or f"10.0.{number // 250}.{number % 250 + 1}"
        return client

    def log_in(self, name: str, password: str = PASSWORD, address: str = "") -> FlaskClient:
        client = self.stranger(address)
        answer = client.post("/login", data={"username": name, "password": password})
        assert answer.status_code == 302, answer.get_data(as_text=True)
        return client

    def __getitem__(self, name: str) -> FlaskClient:
        """The browser of that person, which stays logged in."""
        if name not in self.clients:
            self.clients[name] = self.log_in(name)
        return self.clients[name]

    def add(self, name: str, role: Role = Role.MEMBER) -> str:
        """One more person, for a test that changes what is theirs."""
        self.accounts.add(name, PASSWORD, role)
        return name

    def folder(self, job_id: str) -> JobFolder:
        return self.services.scheduler.folder(job_id)

    def make(self, name: str, url: str, form: dict[str, Any]) -> str:
        answer = self[name].post(f"/{url}.json", data=form)
        assert answer.status_code == 200, answer.get_json()
        return str(answer.get_json()["id"])

    def dataset(self, name: str, **changes: Any) -> str:
        return self.make(name, "datasets/images/classification", payloads.classification(self.digits, **changes))

    def generic(self, name: str, of: str, **changes: Any) -> str:
        """A generic dataset of a classification dataset, whose databases are named and never read."""
        for split in ("train_db", "val_db"):
            (self.folder(of).path / split).mkdir(exist_ok=True)
            (self.folder(of).path / split / "data.mdb").touch()
        (self.folder(of).path / "mean.binaryproto").touch()
        return self.make(name, "datasets/images/generic", payloads.generic(self.folder(of).path, **changes))

    def model(self, name: str, dataset: str, **changes: Any) -> str:
        return self.make(name, "models/images/generic", payloads.model(dataset, **changes))

    def end(self, job_id: str) -> str:
        """Let the job be over, so that it could be deleted."""
        self.services.store.move(job_id, Status.INITIALIZED, Status.ABORTED, 1.0)
        return job_id


@contextmanager
def site_of_people(root: Path) -> Iterator[People]:
    digits = save_digits(root / "digits", 3)
    app = create_app(Settings(data_dir=root / "data", data_roots=(root,)))
    services: Services = app.extensions["layerscope"]
    for name, role in ROLES.items():
        services.accounts.add(name, PASSWORD, role)
    yield People(app, services, digits)
    services.close()

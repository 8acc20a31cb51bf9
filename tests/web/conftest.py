"""A site that the tests of a run share, because its workers take seconds to start, with a dataset to learn from."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.events import Event, all_events
from jobs.folder import JobFolder
from tests.conftest import ENDED, abort_all, until, wait_for_job
from tests.web import payloads
from tests.web.internet import web
from tests.web.people import People, site_of_people
from webapp import create_app
from webapp.config import Settings
from webapp.services import Services


@dataclass(frozen=True)
class Site:
    """The app's client, and the ids of datasets that are done. Its forms may name every folder that tests make."""

    client: FlaskClient
    services: Services
    digits: Path
    classification: str = ""
    generic: str = ""
    without_mean: str = ""

    def folder(self, job_id: str) -> JobFolder:
        return self.services.scheduler.folder(job_id)

    def make(self, url: str, form: dict[str, Any]) -> str:
        """Make a job of the form; its id."""
        answer = self.client.post(f"/{url}.json", data=form)
        assert answer.status_code == 200, answer.get_json()
        return str(answer.get_json()["id"])

    def make_classification(self, folder: Path, **changes: Any) -> str:
        return self.make("datasets/images/classification", payloads.classification(folder, **changes))

    def make_generic(self, folder: Path, **changes: Any) -> str:
        return self.make("datasets/images/generic", payloads.generic(folder, **changes))

    def make_model(self, **changes: Any) -> str:
        return self.make("models/images/generic", payloads.model(changes.pop("dataset", self.generic), **changes))

    def done(self, job_id: str, seconds: float = 90.0) -> str:
        status = wait_for_job(self.client, job_id, seconds)
        assert status["status"] == "Done", status
        return job_id

    def cause_on_page(self, job_id: str) -> str:
        """Why the job ended in an error, which its page must say as well as its JSON."""
        status = wait_for_job(self.client, job_id)
        assert status["status"] == "Error", status
        cause = str(status["cause"])
        page = self.client.get(f"/jobs/{job_id}", follow_redirects=True)
        assert page.status_code == 200
        assert cause in html.unescape(page.get_data(as_text=True))
        assert self.half_files(job_id) == []
        return cause

    def half_files(self, job_id: str) -> list[str]:
        return [path.name for path in self.folder(job_id).path.rglob("*.tmp*")]

    def events(self, job_id: str, type: str) -> list[Event]:
        return [event for event in all_events(self.folder(job_id).events) if event["type"] == type]

    def until_event(self, job_id: str, type: str) -> Event:
        """The job's first event of the type, as soon as there is one."""

        def seen() -> list[Event]:
            status = self.client.get(f"/jobs/{job_id}/status").get_json()
            found = self.events(job_id, type)
            assert found or status["status"] not in ENDED, status
            return found

        return until(seen, 60, f"{job_id} says {type}")[0]

    def job_ids(self) -> set[str]:
        """Every job that the server knows, which must be the jobs that have a folder."""
        listed = self.client.get("/index.json").get_json()
        ids = {job["id"] for family in ("datasets", "models") for job in listed[family]}
        folders = {path.name for path in self.services.settings.jobs_dir.iterdir()}
        assert folders == ids, "no half job is left"
        return ids


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory: pytest.TempPathFactory, digit_folders: Path) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    settings = Settings(root / "data", (tmp_path_factory.getbasetemp(),), images_of_the_web=web())
    app = create_app(settings)
    services: Services = app.extensions["layerscope"]
    services.start()
    site = Site(app.test_client(), services, digit_folders)
    classification = site.done(site.make_classification(digit_folders))
    made = site.folder(classification).path
    generic = site.make_generic(made)
    without_mean = site.make_generic(made, dataset_name="no mean", prebuilt_mean_file="")
    yield Site(site.client, services, digit_folders, classification, site.done(generic), site.done(without_mean))
    abort_all(services)
    services.close()


@pytest.fixture
def site(whole_site: Site) -> Site:
    return whole_site


@pytest.fixture(scope="session")
def trained(whole_site: Site) -> str:
    """A model of two epochs that is done."""
    return whole_site.done(whole_site.make_model(model_name="trained", learning_rate="0.001"))


@pytest.fixture
def nothing_is_made(site: Site) -> Iterator[None]:
    """What the test asks for is refused: afterwards there are the same jobs as before."""
    before = site.job_ids()
    yield
    assert site.job_ids() == before


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with site_of_people(tmp_path_factory.mktemp("people")) as people:
        yield people

"""Resuming a training through its routes: what is answered, what its page offers, and what is refused with which sentence."""

import pytest

from tests.conftest import wait_for_job
from tests.web.conftest import Site
from tests.web.test_models import LONG

BUTTON = 'data-role="resume"'


def offers_resume(site: Site, job_id: str) -> bool:
    """Whether the job's page has the button and not hidden, as its JSON says, too."""
    page = site.client.get(f"/jobs/{job_id}", follow_redirects=True).get_data(as_text=True)
    on_page = f"{BUTTON} hidden" not in page
    assert BUTTON in page
    told: bool = site.client.get(f"/jobs/{job_id}/events").get_json()["status"]["can_resume"]
    assert told == on_page
    return told


@pytest.mark.parametrize("root", ["jobs", "models"])
def test_an_aborted_training_is_resumed(site: Site, root: str) -> None:
    job_id = site.make_model(**LONG, learning_rate="0.0001")
    site.until_event(job_id, "snapshot")
    assert not offers_resume(site, job_id)
    site.client.post(f"/{root}/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"
    assert offers_resume(site, job_id)
    answer = site.client.post(f"/{root}/{job_id}/resume")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "Job resumed.")
    assert not offers_resume(site, job_id)
    site.until_event(job_id, "resumed")
    again = site.client.post(f"/{root}/{job_id}/resume", headers={"Accept": "application/json"})
    assert again.status_code == 403
    assert "What was aborted or failed can be resumed." in again.get_json()["error"]["message"]
    site.client.post(f"/{root}/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"


def test_what_is_no_training_or_has_kept_nothing_cannot_be_resumed(site: Site) -> None:
    dataset = site.make_classification(site.digits / "0")
    model = site.make_model(custom_network="def network(params):\n    return None")
    for job_id, sentence in ((dataset, "only trainings can go on"), (model, "has left no snapshot to go on from")):
        assert wait_for_job(site.client, job_id)["status"] == "Error"
        assert not offers_resume(site, job_id)
        answer = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "application/json"})
        assert answer.status_code == 403
        assert sentence in answer.get_json()["error"]["message"]
        page = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "text/html"})
        assert sentence in page.get_data(as_text=True)
    assert site.client.post("/jobs/20200101-000000-0000/resume").status_code == 404
    assert site.client.get(f"/jobs/{model}/resume").status_code == 405

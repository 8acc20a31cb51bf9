"""Pausing and resuming a training through its routes: what is answered, what its page offers, and what is refused."""

import re

import pytest

from tests.conftest import until, wait_for_job
from tests.web.conftest import Site
from tests.web.test_models import LONG

ACTIONS = ("abort", "pause", "resume", "train_longer")


def offered(site: Site, job_id: str) -> set[str]:
    """Which of the buttons the job's page has and not hidden, as its JSON says, too."""
    page = site.client.get(f"/jobs/{job_id}", follow_redirects=True).get_data(as_text=True)
    buttons = {
        action: re.search(rf'<[^>]*data-(role|action)="{action.replace("_", "-")}"[^>]*>', page) for action in ACTIONS
    }
    on_page = {action for action, button in buttons.items() if button and " hidden" not in button.group()}
    assert all(buttons.values())
    status = site.client.get(f"/jobs/{job_id}/events").get_json()["status"]
    assert {action for action in ACTIONS if status[f"can_{action}"]} == on_page
    return on_page


def until_status(site: Site, job_id: str, status: str) -> None:
    until(lambda: site.client.get(f"/jobs/{job_id}/status").get_json()["status"] == status, 60, f"it is {status}")


@pytest.mark.parametrize("root", ["jobs", "models"])
def test_an_aborted_training_is_resumed(site: Site, root: str) -> None:
    job_id = site.make_model(**LONG, learning_rate="0.0001")
    site.until_event(job_id, "snapshot")
    assert offered(site, job_id) == {"abort", "pause"}
    site.client.post(f"/{root}/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"
    assert offered(site, job_id) == {"resume"}
    answer = site.client.post(f"/{root}/{job_id}/resume")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "Job resumed.")
    assert offered(site, job_id) == {"abort", "pause"}
    site.until_event(job_id, "resumed")
    again = site.client.post(f"/{root}/{job_id}/resume", headers={"Accept": "application/json"})
    assert again.status_code == 403
    assert "What was paused, was aborted or failed can be resumed." in again.get_json()["error"]["message"]
    site.client.post(f"/{root}/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"


@pytest.mark.parametrize("root", ["jobs", "models"])
def test_a_paused_training_is_listed_so_and_can_be_resumed_aborted_and_deleted(site: Site, root: str) -> None:
    job_id = site.make_model(**LONG, learning_rate="0.0001", model_name=f"Rests {root}")
    site.until_event(job_id, "snapshot")
    answer = site.client.post(f"/{root}/{job_id}/pause")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "Job paused.")
    until_status(site, job_id, "Paused")
    assert offered(site, job_id) == {"abort", "resume"}
    listed = site.client.get(f"/tables.json?filter=paused+rests+{root}").get_json()
    assert [(row["id"], row["status"]) for row in listed["models"]["rows"]] == [(job_id, "Paused")]
    again = site.client.post(f"/{root}/{job_id}/pause", headers={"Accept": "application/json"})
    assert again.status_code == 403
    assert "it is Paused" in again.get_json()["error"]["message"]
    site.client.post(f"/{root}/{job_id}/resume")
    site.until_event(job_id, "resumed")
    site.client.post(f"/{root}/{job_id}/pause")
    until_status(site, job_id, "Paused")
    assert site.client.post(f"/{root}/{job_id}/abort").status_code == 200
    assert offered(site, job_id) == {"resume"}
    site.client.post(f"/{root}/{job_id}/resume")
    site.client.post(f"/{root}/{job_id}/pause")
    until_status(site, job_id, "Paused")
    assert site.client.delete(f"/{root}/{job_id}").status_code == 200
    assert site.client.get(f"/{root}/{job_id}").status_code == 404


def test_a_training_that_is_done_trains_longer(site: Site) -> None:
    job_id = site.done(site.make_model(learning_rate="0.001", lr_policy="fixed"))
    assert offered(site, job_id) == {"train_longer"}
    for fields, sentence in (
        ({}, "This field is required."),
        ({"epochs": "0"}, "This must be at least 1."),
        ({"epochs": "2", "learning_rate": "-1"}, "This must be more than 0."),
    ):
        answer = site.client.post(f"/jobs/{job_id}/train-longer", data=fields)
        assert answer.status_code == 400
        assert [sentence] in answer.get_json()["errors"].values()
    answer = site.client.post(f"/models/{job_id}/train-longer", data={"epochs": "3", "learning_rate": "0.0005"})
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "Job trains longer.")
    again = site.client.post(f"/jobs/{job_id}/train-longer", data={"epochs": "1"})
    assert again.status_code == 403
    assert b"and not Done" in again.data
    site.done(job_id)
    told = site.client.get(f"/models/{job_id}.json").get_json()
    assert (told["epochs"], told["snapshots"]) == (5, [1, 2, 3, 4, 5])
    rates = site.client.get(f"/models/{job_id}/curve.json").get_json()["train"]
    assert {rate for epoch, rate in zip(rates["epoch"], rates["learning_rate"], strict=True) if epoch <= 2} == {0.001}
    assert {rate for epoch, rate in zip(rates["epoch"], rates["learning_rate"], strict=True) if epoch > 2} == {0.0005}
    page = site.client.get(f"/models/{job_id}").get_data(as_text=True)
    assert 'data-epochs="5"' in page
    assert "3 more epochs, at the learning rate 0.0005" in page
    form = site.client.get(f"/models/images/generic/new.json?clone={job_id}").get_json()
    assert form["fields"]["train_epochs"]["value"] == "5"


def test_what_is_no_training_or_has_kept_nothing_cannot_be_resumed(site: Site) -> None:
    dataset = site.make_classification(site.digits / "0")
    model = site.make_model(custom_network="def network(params):\n    return None")
    for job_id, sentence in ((dataset, "only trainings can go on"), (model, "has left no snapshot to go on from")):
        assert wait_for_job(site.client, job_id)["status"] == "Error"
        assert offered(site, job_id) == set()
        answer = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "application/json"})
        assert answer.status_code == 403
        assert sentence in answer.get_json()["error"]["message"]
        page = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "text/html"})
        assert sentence in page.get_data(as_text=True)
        assert site.client.post(f"/jobs/{job_id}/pause").status_code == 403
        assert site.client.post(f"/jobs/{job_id}/train-longer", data={"epochs": "1"}).status_code == 403
    assert site.client.post("/jobs/20200101-000000-0000/resume").status_code == 404
    assert site.client.get(f"/jobs/{model}/resume").status_code == 405

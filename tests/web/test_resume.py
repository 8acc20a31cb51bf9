"""Pausing and resuming a training through its routes: what is answered, what its page offers, and what is refused."""

import re

from tests.conftest import until, wait_for_job
from tests.web.conftest import Site
from tests.web.test_models import LONG, misbehaving

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


def test_an_aborted_training_is_resumed(site: Site) -> None:
    """By either address of a model, here and in the next test: each has every action."""
    job_id = site.make_model(**LONG, learning_rate="0.0001")
    site.until_event(job_id, "snapshot")
    assert offered(site, job_id) == {"abort", "pause"}
    site.client.post(f"/jobs/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"
    assert offered(site, job_id) == {"resume"}
    answer = site.client.post(f"/models/{job_id}/resume")
    assert answer.status_code == 200
    assert re.fullmatch(r"Job resumed\. It goes on after [\d.]+ of 1,000,000 epochs\.", answer.get_data(as_text=True))
    assert offered(site, job_id) == {"abort", "pause"}
    site.until_event(job_id, "resumed")
    again = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "application/json"})
    assert again.status_code == 403
    assert "What was paused, was aborted or failed can be resumed." in again.get_json()["error"]["message"]
    site.client.post(f"/models/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"


def test_a_paused_training_is_listed_so_and_can_be_resumed_aborted_and_deleted(site: Site) -> None:
    job_id = site.make_model(**LONG, learning_rate="0.0001", model_name="Rests")
    site.until_event(job_id, "snapshot")
    answer = site.client.post(f"/jobs/{job_id}/pause")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "Job paused.")
    until_status(site, job_id, "Paused")
    assert offered(site, job_id) == {"abort", "resume"}
    listed = site.client.get("/tables.json?filter=paused+rests").get_json()
    assert [(row["id"], row["status"]) for row in listed["models"]["rows"]] == [(job_id, "Paused")]
    again = site.client.post(f"/models/{job_id}/pause", headers={"Accept": "application/json"})
    assert again.status_code == 403
    assert "it is Paused" in again.get_json()["error"]["message"]
    site.client.post(f"/jobs/{job_id}/resume")
    site.until_event(job_id, "resumed")
    site.client.post(f"/models/{job_id}/pause")
    until_status(site, job_id, "Paused")
    assert site.client.post(f"/jobs/{job_id}/abort").status_code == 200
    assert offered(site, job_id) == {"resume"}
    site.client.post(f"/models/{job_id}/resume")
    site.client.post(f"/jobs/{job_id}/pause")
    until_status(site, job_id, "Paused")
    assert site.client.delete(f"/models/{job_id}").status_code == 200
    assert site.client.get(f"/models/{job_id}").status_code == 404


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
    asked = site.folder(job_id).spec
    content = asked.read_text()
    asked.write_text(content.replace('"train_epochs": 2', '"train_epochs": 0'))
    answer = site.client.post(
        f"/jobs/{job_id}/train-longer", data={"epochs": "1"}, headers={"Accept": "application/json"}
    )
    assert answer.status_code == 400
    assert "was changed after the job was entered" in answer.get_json()["error"]["message"]
    asked.write_text(content)
    # Before its worker can begin.
    with site.services.scheduler.turn:
        answer = site.client.post(f"/models/{job_id}/train-longer", data={"epochs": "3", "learning_rate": "0.0005"})
        words = "Job trains longer. It goes on after 2 of 2 epochs."
        assert (answer.status_code, answer.get_data(as_text=True)) == (200, words)
        assert site.client.get(f"/models/{job_id}.json").get_json()["progress"] < 100
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


def test_a_snapshot_of_the_midst_of_an_epoch_is_told_as_what_it_is(site: Site) -> None:
    slow = misbehaving("time.sleep(1)")
    job_id = site.make_model(custom_network=slow, train_epochs="3", batch_size="1", learning_rate="0.000001")
    site.until_event(job_id, "train")
    site.client.post(f"/jobs/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"
    told = site.client.get(f"/models/{job_id}.json").get_json()
    (taken_after,) = told["snapshots_taken_after"]
    assert 0 < taken_after < 1
    assert told["snapshots"] == [1]
    page = site.client.get(f"/models/{job_id}").get_data(as_text=True)
    (words,) = re.findall(r'<option value="1">Epoch #(.*?)</option>', page)
    assert 0 < float(words) < 1
    assert f'<span data-epoch="1">{words}</span>' in page
    assert told["goes_on"] == f"It goes on after {words} of 3 epochs."
    assert told["goes_on"] in page
    picture = {"image_path": str(min(site.digits.rglob("*.png")))}
    for epoch in ("", "1", words):
        form = {"job_id": job_id, "snapshot_epoch": epoch, **picture}
        assert site.client.post("/models/images/generic/infer_one.json", data=form).get_json()["snapshot"] == (
            f"snapshot after {words} epochs"
        )
    page = site.client.post("/models/images/generic/infer_one", data={"job_id": job_id, **picture})
    assert f"Snapshot after {words} epochs" in page.get_data(as_text=True)
    none = site.client.post("/models/images/generic/infer_one.json", data={**form, "snapshot_epoch": "0.99"})
    assert f"There are snapshots of: {words}." in none.get_json()["error"]["message"]


def test_one_whose_last_snapshots_are_damaged_says_from_where_it_goes_on_and_keeps_the_epochs_it_was_given(
    site: Site,
) -> None:
    job_id = site.done(site.make_model(learning_rate="0.001", lr_policy="fixed"))
    site.client.post(f"/jobs/{job_id}/train-longer", data={"epochs": "1", "learning_rate": "0.0005"})
    site.done(job_id)
    for epoch in (2, 3):
        snapshot = site.folder(job_id).snapshot(epoch)
        snapshot.write_bytes(snapshot.read_bytes()[:1000])
    words = (
        "It goes on after 1 of 3 epochs, from its newest good snapshot. What it had learnt after that, up to 3, "
        "it learns again."
    )
    assert site.client.get(f"/models/{job_id}.json").get_json()["goes_on"] == words
    assert words in site.client.get(f"/models/{job_id}").get_data(as_text=True)
    answer = site.client.post(f"/jobs/{job_id}/train-longer", data={"epochs": "1"})
    assert answer.get_data(as_text=True) == f"Job trains longer. {words}"
    site.done(job_id)
    told = site.client.get(f"/models/{job_id}.json").get_json()
    assert (told["epochs"], told["snapshots"]) == (4, [1, 2, 3, 4])
    train = site.client.get(f"/models/{job_id}/curve.json").get_json()["train"]
    rates = {rate for epoch, rate in zip(train["epoch"], train["learning_rate"], strict=True) if epoch > 2}
    assert rates == {0.0005}
    said = [event["text"] for event in site.events(job_id, "message")]
    assert any(text.endswith("1 epoch, from the snapshot of epoch 1.") for text in said)


def test_what_is_no_training_or_has_kept_nothing_cannot_be_resumed(site: Site) -> None:
    dataset = site.make_classification(site.digits / "0")
    model = site.make_model(custom_network="def network(params):\n    return None")
    for job_id, sentence in ((dataset, "only trainings can go on"), (model, "has left no snapshot to go on from")):
        assert wait_for_job(site.client, job_id)["status"] == "Error"
        assert offered(site, job_id) == set()
        # curl says that it takes anything.
        for accept in ("application/json", "*/*"):
            answer = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": accept})
            assert answer.status_code == 403
            assert sentence in answer.get_json()["error"]["message"]
        page = site.client.post(f"/jobs/{job_id}/resume", headers={"Accept": "text/html"})
        assert sentence in page.get_data(as_text=True)
        assert site.client.post(f"/jobs/{job_id}/pause").status_code == 403
        assert site.client.post(f"/jobs/{job_id}/train-longer", data={"epochs": "1"}).status_code == 403
    assert site.client.post("/jobs/20200101-000000-0000/resume").status_code == 404
    assert site.client.get(f"/jobs/{model}/resume").status_code == 405

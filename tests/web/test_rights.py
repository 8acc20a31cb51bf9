"""Everybody who is logged in may look; owner and admins may change; what is private is there for its owner alone."""

import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.rebuilding import open_store
from jobs.statuses import Status
from tests.web import payloads
from tests.web.people import JSON, PASSWORD, People

# By which a job is changed. What these do is told elsewhere; here it is about who may.
CHANGES = (
    ("PUT", "/jobs/{id}", {"job_name": "renamed"}),
    ("PUT", "/jobs/{id}", {"job_notes": "noted"}),
    ("PUT", "/jobs/{id}", {"private": "1"}),
    ("POST", "/jobs/{id}/abort", {}),
    ("POST", "/jobs/{id}/pause", {}),
    ("POST", "/jobs/{id}/resume", {}),
    ("PUT", "/models/{id}/pin", {"split": "val", "index": "0"}),
    ("DELETE", "/jobs/{id}", {}),
)
# What takes a job's id, changes something, and leaves the job as it is.
LOOKS = {"job_actions.clone"}


@pytest.fixture(scope="module")
def bobs(people: People) -> dict[str, str]:
    """What bob has made: a chain of three that everybody may see."""
    return chain(people, "bob", "Bob’s")


@pytest.fixture(scope="module")
def secret(people: People) -> dict[str, str]:
    """What bob has made for himself, with all that a job may leave in its folder."""
    made = chain(people, "bob", "Hush", private="1")
    for job_id in made.values():
        folder = people.folder(job_id)
        folder.log.write_text("Hush\n")
        (folder.path / "mean.jpg").write_bytes(b"Hush")
        folder.frames.mkdir()
        folder.frame(1).write_bytes(gzip.compress(b'{"frame": 1}'))
        folder.snapshots.mkdir()
        folder.snapshot(1).write_bytes(b"Hush")
        folder.events.write_text('{"type": "started"}\n')
    return made


def chain(people: People, name: str, title: str, **changes: Any) -> dict[str, str]:
    dataset = people.dataset(name, dataset_name=f"{title} dataset", **changes)
    generic = people.generic(name, dataset, dataset_name=f"{title} generic")
    model = people.model(name, generic, model_name=f"{title} model")
    return {"dataset": dataset, "generic": generic, "model": model}


def error(answer: Any) -> str:
    return str(answer.get_json()["error"]["message"])


# Changing


@pytest.mark.parametrize(("method", "path", "fields"), CHANGES)
def test_only_owner_and_admins_may_change_a_job(people: People, bobs: dict[str, str], method: str, path: str,
                                                fields: dict[str, str]) -> None:  # fmt: skip
    url = path.format(id=bobs["model"])
    before = people.services.store.get(bobs["model"])
    answer = people["eve"].open(url, method=method, data=fields, headers=JSON)
    assert answer.status_code == 403
    assert error(answer) == f'"{before.name}" stays as it is. It is bob’s: only bob and admins may change it.'
    assert people.services.store.get(bobs["model"]) == before
    for name in ("ada", "bob"):
        if not ({"private"} & fields.keys() or method == "DELETE"):
            told = people[name].open(url, method=method, data=fields, headers=JSON).get_data(as_text=True)
            assert "may change it" not in told


def test_no_change_is_forgotten(people: People, bobs: dict[str, str]) -> None:
    """Whatever route takes a job's id and changes something refuses who may not."""
    tried = 0
    for rule in people.app.url_map.iter_rules():
        for method in {"POST", "PUT", "PATCH", "DELETE"} & (rule.methods or set()):
            if "job_id" in rule.arguments and rule.endpoint not in LOOKS:
                path = re.sub(r"<job_id>", bobs["model"], rule.rule)
                path = re.sub(r"<[^>]+>", "1", path)
                assert people["eve"].open(path, method=method, headers=JSON).status_code == 403, (method, path)
                tried += 1
    assert tried >= len(CHANGES)


def test_many_at_once_are_refused_one_by_one(people: People) -> None:
    bobs, eves = (people.end(people.dataset(name, dataset_name=f"{name} at once")) for name in ("bob", "eve"))
    fields = {"job_ids[]": [bobs, eves]}
    for method, path in (("POST", "/abort_jobs"), ("DELETE", "/jobs")):
        answer = people["eve"].open(path, method=method, data=fields, headers=JSON)
        assert answer.status_code == 400
        assert any("It is bob’s" in fault for fault in answer.get_json()["faults"])
    assert people["eve"].get(f"/jobs/{eves}/status").get_json()["error"] == "Job not found."
    assert people["ada"].delete("/jobs", data=fields).status_code == 400, "eve’s is gone"
    assert people["bob"].get(f"/jobs/{bobs}/status").get_json()["error"] == "Job not found.", "an admin may"


def test_a_job_from_before_there_were_accounts_is_the_admins_to_change(people: People) -> None:
    people.services.store.add("20160101-000000-0000", "generic-image-dataset", "dataset", "Old", "", 1.0, None)
    for name, status in (("bob", 403), ("ada", 200)):
        answer = people[name].put("/jobs/20160101-000000-0000", data={"job_notes": "noted"}, headers=JSON)
        assert answer.status_code == status
    people.services.store.move("20160101-000000-0000", Status.INITIALIZED, Status.ERROR, 1.0)


def test_the_page_offers_only_what_one_may_do(people: People, bobs: dict[str, str]) -> None:
    for job_id in bobs.values():
        pages = {name: page_of(people[name], job_id) for name in ("ada", "bob", "eve")}
        assert "It is bob’s: only bob and admins may change it." in pages["eve"]
        assert "may change it" not in pages["ada"] + pages["bob"]
        assert '<div class="changes" hidden>' in pages["eve"]
        assert '<div class="changes">' in pages["bob"]
        assert [name for name, page in pages.items() if 'data-role="private"' in page] == ["bob"]
    row = people["eve"].get(f"/jobs/{bobs['model']}/table_data.json").get_json()["job"]
    assert (row["username"], row["may_change"]) == ("bob", False)


def page_of(client: FlaskClient, job_id: str) -> str:
    answer = client.get(f"/jobs/{job_id}", follow_redirects=True)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


# Private jobs


def test_what_is_made_from_a_private_job_is_private(people: People, secret: dict[str, str]) -> None:
    records = [people.services.store.get(job_id) for job_id in secret.values()]
    assert [(record.owner, record.private) for record in records] == [("bob", True)] * 3


@pytest.mark.parametrize("name", ["ada", "eve"])
def test_no_route_knows_a_private_job_of_somebody_else(people: People, secret: dict[str, str], name: str) -> None:
    client, tried = people[name], 0
    for rule in people.app.url_map.iter_rules():
        if "job_id" not in rule.arguments:
            continue
        for job_id in secret.values():
            path = re.sub(r"<job_id>", job_id, rule.rule)
            path = re.sub(r"<split>", "train", path).replace("<name>", "mean.jpg")
            path = re.sub(r"<[^>]+>", "1", path)
            for method in (rule.methods or set()) - {"OPTIONS"}:
                answer = client.open(path, method=method, headers=JSON)
                told = answer.get_data(as_text=True)
                is_status = rule.endpoint == "job_actions.status"
                assert answer.status_code == (200 if is_status else 404), (method, path)
                assert method == "HEAD" or "Job not found" in told, (method, path)
                assert "Hush" not in told
                tried += 1
    assert tried > 60


@pytest.mark.parametrize("name", ["ada", "eve"])
@pytest.mark.parametrize(("method", "path", "fields"), [
    ("GET", "/datasets/summary.json?job_id={dataset}", {}),
    ("GET", "/datasets/images/classification/explore?job_id={dataset}&db=train", {}),
    ("GET", "/datasets/generic/explore.json?job_id={generic}", {}),
    ("GET", "/datasets/images/generic/new?from={dataset}", {}),
    ("GET", "/datasets/images/classification/new?clone={dataset}", {}),
    ("GET", "/models/images/generic/new?clone={model}", {}),
    ("GET", "/models/images/generic/large_graph?job_id={model}", {}),
    ("POST", "/models/images/generic/infer_one", {"job_id": "{model}", "image_path": "/x"}),
    ("POST", "/models/images/generic/infer_one.json", {"job_id": "{model}"}),
    ("POST", "/models/visualize-network", {"dataset": "{generic}"}),
    ("POST", "/models/show-python", {"dataset": "{generic}", "framework": "torch"}),
    ("POST", "/clone/{model}", {}),
])  # fmt: skip
def test_no_field_names_a_private_job_of_somebody_else(people: People, secret: dict[str, str], name: str, method: str,
                                                       path: str, fields: dict[str, str]) -> None:  # fmt: skip
    filled = {key: value.format(**secret) for key, value in fields.items()}
    answer = people[name].open(path.format(**secret), method=method, data=filled, headers=JSON)
    assert answer.status_code == 404
    assert error(answer).startswith("Job not found")


@pytest.mark.parametrize("name", ["ada", "eve"])
def test_no_list_and_no_count_has_a_private_job_of_somebody_else(
    people: People, secret: dict[str, str], name: str
) -> None:
    client = people[name]
    for path in ("/", "/index.json", "/tables.json", "/tables.json?filter=hush", "/completed_jobs.json",
                 "/tables/running/names.json", "/models/images/generic/new", "/datasets/images/generic/new"):  # fmt: skip
        told = client.get(path).get_data(as_text=True)
        assert not [job_id for job_id in secret.values() if job_id in told], path
        assert "Hush" not in told, path
    total = client.get("/tables.json").get_json()["running"]["total"]
    hidden = people["bob"].get("/tables.json?filter=hush").get_json()["running"]
    assert (hidden["matching"], hidden["total"]) == (3, total + 3)
    for job_id in secret.values():
        answer = client.put("/models/1/pin", data={"dataset": job_id})
        assert answer.status_code == 404
    fields = {"job_ids[]": list(secret.values())}
    for method, path in (("DELETE", "/jobs"), ("POST", "/abort_jobs")):
        answer = client.open(path, method=method, data=fields, headers=JSON)
        assert [fault for fault in answer.get_json()["faults"] if not fault.startswith("Job not found")] == []


def test_a_private_dataset_cannot_be_learned_from_by_others(people: People, secret: dict[str, str]) -> None:
    answer = people["eve"].post("/models/images/generic.json", data=payloads.model(secret["generic"]))
    assert answer.status_code == 400
    assert "does not exist" in answer.get_json()["errors"]["dataset"][0]


def test_the_folder_of_a_private_job_is_no_path_for_others(people: People, secret: dict[str, str],
                                                           bobs: dict[str, str]) -> None:  # fmt: skip
    folder, jobs = people.folder(secret["dataset"]).path, people.services.settings.jobs_dir

    def completed(name: str, query: Path | str) -> list[str]:
        found: list[str] = (
            people[name].get("/autocomplete/path", query_string={"query": str(query)}).get_json()["suggestions"]
        )
        return found

    assert f"{folder}/" in completed("bob", f"{jobs}/")
    assert completed("bob", f"{folder}/")
    for name in ("ada", "eve"):
        assert f"{people.folder(bobs['dataset']).path}/" in completed(name, f"{jobs}/")
        for query in (f"{jobs}/", folder, f"{folder}/", f"{jobs}/../jobs/{folder.name}/", f"{jobs}/{folder.name}/me"):
            assert not [path for path in completed(name, query) if secret["dataset"] in path], query
        form = payloads.generic(folder)
        errors = people[name].post("/datasets/images/generic.json", data=form).get_json()["errors"]
        assert "outside the folders" in errors["prebuilt_train_images"][0]
        fields = {"job_id": bobs["model"], "image_path": str(folder / "mean.jpg")}
        people.folder(bobs["model"]).snapshots.mkdir(exist_ok=True)
        people.folder(bobs["model"]).snapshot(1).touch()
        answer = people[name].post("/models/images/generic/infer_one.json", data=fields)
        assert "outside the folders" in error(answer)
        fields = payloads.model(
            bobs["generic"], framework="torch", pretrained_model=str(people.folder(secret["model"]).snapshot(1))
        )
        errors = people[name].post("/models/images/generic.json", data=fields).get_json()["errors"]
        assert "outside the folders" in errors["pretrained_model"][0]


def test_what_lies_above_the_jobs_is_no_folder_of_pictures(people: People, secret: dict[str, str]) -> None:
    settings = people.services.settings
    for folder in (settings.jobs_dir, settings.data_dir, settings.data_dir.parent):
        answer = people["eve"].post("/datasets/images/classification.json", data=payloads.classification(folder))
        assert "The jobs of this server are in this folder" in answer.get_json()["errors"]["folder_train"][0]


@pytest.mark.parametrize("file", ["accounts.sqlite", "layerscope.sqlite", "uploads", "uploads/x"])
def test_the_servers_own_files_are_no_paths(people: People, bobs: dict[str, str], file: str) -> None:
    data = people.services.settings.data_dir
    (data / "uploads" / "x").touch()
    found = people["ada"].get("/autocomplete/path", query_string={"query": f"{data}/"}).get_json()["suggestions"]
    assert not [path for path in found if "sqlite" in path or "uploads" in path]
    fields = {"job_id": bobs["model"], "image_path": str(data / file)}
    assert "outside the folders" in error(people["ada"].post("/models/images/generic/infer_one.json", data=fields))


def test_sentences_about_other_jobs_do_not_name_a_private_one(people: People) -> None:
    dataset = people.end(people.dataset("bob", dataset_name="Shared"))
    people.generic("eve", dataset, dataset_name="Whisper", private="1")
    told = error(people["bob"].delete(f"/jobs/{dataset}", headers=JSON))
    assert "a private job of eve" in told
    assert "Whisper" not in told
    row = people["bob"].get(f"/jobs/{dataset}/table_data.json").get_json()["job"]
    assert row["refs"] == 0
    assert people["eve"].get(f"/jobs/{dataset}/table_data.json").get_json()["job"]["refs"] == 1
    assert "Whisper" not in page_of(people["bob"], dataset)
    store = people.services.store
    first = people.end(people.dataset("eve", dataset_name="Murmur", private="1"))
    assert store.get(first).words_for(store.get(dataset)) == "a private job of eve"
    bobs_private = people.end(people.dataset("bob", dataset_name="x", private="1"))
    assert store.get(first).words_for(store.get(bobs_private)) == "a private job of eve"
    assert store.get(first).words_for(store.get(first)) == '"Murmur"'


def test_what_a_deletion_would_leave_is_said_before(people: People) -> None:
    made = chain(people, "eve", "Doomed")

    def faults(name: str, *jobs: str) -> list[str]:
        asked = people[name].post("/jobs/check-deletion", data={"job_ids[]": [made[job] for job in jobs]}).get_json()
        found: list[str] = asked["faults"]
        assert len(found) + len(asked["deleted"]) == len(jobs)
        return found

    assert faults("eve", "dataset", "generic", "model") == []
    assert faults("eve", "dataset") == [
        'Cannot delete "Doomed dataset" because 1 job depends on it: "Doomed generic". Delete those first.'
    ]
    # What stays keeps what it reads.
    assert [fault.split('"')[1] for fault in faults("eve", "dataset", "generic")] == [
        "Doomed generic",
        "Doomed dataset",
    ]
    assert faults("bob", "model") == ['"Doomed model" stays as it is. It is eve’s: only eve and admins may change it.']
    assert faults("ada", "model") == []
    assert len([job for job in made.values() if people.services.store.get(job)]) == 3


def test_an_owner_makes_a_job_private_and_public_again(people: People) -> None:
    made = chain(people, "eve", "Shown")

    def put(name: str, job: str, private: str) -> Any:
        return people[name].put(f"/jobs/{made[job]}", data={"private": private}, headers=JSON)

    told = put("eve", "dataset", "1")
    assert (told.status_code, "not yours or not private" in error(told)) == (403, True)
    assert "for its owner to do" in error(put("ada", "model", "1"))
    for job in ("model", "generic", "dataset"):
        assert put("eve", job, "1").status_code == 200
        assert people["ada"].get(f"/jobs/{made[job]}", headers=JSON).status_code == 404
    assert "Make that public first" in error(put("eve", "model", "0"))
    for job in ("dataset", "generic", "model"):
        assert put("eve", job, "0").status_code == 200
        assert "Shown" in page_of(people["ada"], made[job])


def test_what_is_read_of_a_private_job_besides_its_images_counts_too(people: People) -> None:
    """Validation images and means that lie in another job than the training images do."""
    shown, hidden = people.end(people.dataset("bob", dataset_name="Shown")), people.end(people.dataset("eve"))
    people.end(people.generic("eve", hidden))
    validation = {"prebuilt_val_images": str(people.folder(hidden).path / "val_db")}
    theirs = people.end(people.generic("bob", shown, dataset_name="Of both", **validation))

    def put(job: str, private: str) -> Any:
        return people["eve"].put(f"/jobs/{job}", data={"private": private}, headers=JSON)

    told = error(put(hidden, "1"))
    assert '"Of both"' in told, "who has linked it could read it then, and can still"
    people["bob"].delete(f"/jobs/{theirs}")
    own = people.end(people.generic("eve", shown, **validation))
    for job in people.services.store.children(hidden, None):
        assert put(job.id, "1").status_code == 200
    assert put(own, "1").status_code == 200
    assert put(hidden, "1").status_code == 200
    assert "what it reads is private" in error(put(own, "0"))
    made = people.end(
        people.generic("eve", shown, prebuilt_mean_file=str(people.folder(hidden).path / "mean.binaryproto"))
    )
    assert people.services.store.get(made).private
    for job in (made, own):
        people["eve"].delete(f"/jobs/{job}")


class WatchedTurn:
    """A turn that says when somebody waits for it; who has its lock is not seen."""

    def __init__(self, lock: AbstractContextManager[bool]) -> None:
        self.lock = lock
        self.is_awaited = Event()

    def __enter__(self) -> bool:
        self.is_awaited.set()
        return self.lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.lock.__exit__(*error)


def test_what_becomes_private_in_the_moment_is_not_read_by_others(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = people.end(people.dataset("eve"))
    own = people.end(people.generic("bob", shown))
    form = payloads.generic(people.folder(shown).path)
    people["bob"].delete(f"/jobs/{own}")
    turn = WatchedTurn(people.services.scheduler.turn)
    monkeypatch.setattr(people.services.scheduler, "turn", turn)
    with ThreadPoolExecutor(1) as pool, turn.lock:
        asked = pool.submit(people["bob"].post, "/datasets/images/generic.json", data=form)
        assert turn.is_awaited.wait(60)
        assert not asked.done()
        assert people["eve"].put(f"/jobs/{shown}", data={"private": "1"}, headers=JSON).status_code == 200
    # The form was looked at before, and so the dataset was found.
    assert asked.result().status_code == HTTPStatus.NOT_FOUND
    assert people.services.store.children(shown, None) == []


def test_a_clone_of_a_private_job_is_to_be_private(people: People, secret: dict[str, str]) -> None:
    page = people["bob"].get(f"/clone/{secret['model']}", follow_redirects=True).get_data(as_text=True)
    assert re.search(r'id="private" name="private" value="1" checked', page)
    assert not re.search(
        r'name="private" value="1" checked', people["bob"].get("/models/images/generic/new").get_data(as_text=True)
    )


def test_jobs_made_at_once_are_their_makers_too(people: People) -> None:
    answer = people["eve"].post("/try-it", headers=JSON)
    made = answer.get_json()["id"]
    store = people.services.store
    chain_of_three = [made, store.get(made).parent_id, store.get(store.get(made).parent_id or "").parent_id]
    assert [store.get(job_id or "").owner for job_id in chain_of_three] == ["eve"] * 3


def test_names_of_people_are_shown_as_text(people: People) -> None:
    assert "<b>" not in people.stranger().post("/login", data={"username": "<b>", "password": PASSWORD}).get_data(
        as_text=True
    )


def test_a_list_that_is_made_anew_knows_whose_a_job_is(people: People, secret: dict[str, str], tmp_path: Path) -> None:
    unclear = people.dataset("bob", dataset_name="Unclear")
    people.folder(unclear).attributes.write_text("no JSON")
    people["bob"].put(f"/jobs/{secret['model']}", data={"job_notes": "Hush, a note"})
    anew = open_store(tmp_path / "anew.sqlite", people.services.settings.jobs_dir)
    assert {anew.get(job_id).owner for job_id in secret.values()} == {"bob"}
    assert all(anew.get(job_id).private for job_id in secret.values())
    assert anew.get(unclear).private, "better nobody's than everybody's"
    anew.close()
    people.end(unclear)
    people["bob"].delete(f"/jobs/{unclear}")

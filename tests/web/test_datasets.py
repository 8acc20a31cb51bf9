"""Dataset jobs through their routes, with real workers."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import save_digits, wait_for_job
from tests.web import payloads


def create(client: FlaskClient, url: str, form: dict[str, str]) -> str:
    answer = client.post(f"/datasets/{url}.json", data=form)
    assert answer.status_code == 200, answer.get_json()
    return str(answer.get_json()["id"])


@pytest.fixture
def made(client: FlaskClient, digit_folders: Path) -> str:
    """A finished classification dataset of 200 digits."""
    job_id = create(client, "images/classification", payloads.classification(digit_folders))
    assert wait_for_job(client, job_id)["status"] == "Done"
    return job_id


def folder_of(client: FlaskClient, job_id: str) -> Path:
    return Path(client.get(f"/datasets/{job_id}.json").get_json()["directory"])


def test_a_folder_of_class_folders_becomes_databases(client: FlaskClient, made: str) -> None:
    answer = client.get(f"/datasets/{made}.json").get_json()
    assert [task["entries"] for task in answer["CreateDbTasks"]] == [150, 50]
    assert answer["ParseFolderTasks"][0]["label_count"] == 10
    folder = folder_of(client, made)
    for name in ("train_db/data.mdb", "val_db/data.mdb", "mean.binaryproto", "mean.jpg", "labels.txt", "train.txt"):
        assert (folder / name).exists(), name


def test_the_page_shows_what_was_made(client: FlaskClient, made: str) -> None:
    page = client.get(f"/datasets/{made}").get_data(as_text=True)
    for text in ("digits", made, str(folder_of(client, made)), "Make a generic dataset from this"):
        assert text in page
    assert client.get(f"/jobs/{made}/files/mean.jpg").mimetype == "image/jpeg"


def test_pictures_are_explored_by_page_and_by_class(client: FlaskClient, made: str) -> None:
    explore = "/datasets/images/classification/explore"
    page = client.get(f"{explore}?job_id={made}&db=train&size=25").get_data(as_text=True)
    assert "Items per page" in page
    assert page.count(f'src="/datasets/{made}/image/') == 25
    one_class = client.get(f"{explore}?job_id={made}&db=val&label=3&size=100").get_data(as_text=True)
    assert 0 < one_class.count(f'src="/datasets/{made}/image/') < 10
    picture = client.get(f"/datasets/{made}/image/train/0")
    assert picture.mimetype == "image/png"
    assert picture.data.startswith(b"\x89PNG")


def test_a_dataset_that_is_not_done_cannot_be_explored(client: FlaskClient, made: str) -> None:
    job_id = create(client, "images/classification", payloads.classification(folder_of(client, made)) | {
        "folder_train": str(save_digits(folder_of(client, made).parent.parent / "empty", 1))})  # fmt: skip
    answer = client.get(f"/datasets/images/classification/explore?job_id={job_id}")
    assert answer.status_code == 400
    assert "status should be" in answer.get_data(as_text=True)


def test_the_button_fills_the_generic_form(client: FlaskClient, made: str) -> None:
    page = client.get(f"/datasets/images/generic/new?from={made}").get_data(as_text=True)
    folder = folder_of(client, made)
    for path in ("train_db", "val_db", "mean.binaryproto"):
        assert str(folder / path) in page


def test_a_generic_dataset_is_made_of_what_exists(client: FlaskClient, made: str) -> None:
    job_id = create(client, "images/generic", payloads.generic(folder_of(client, made)))
    assert wait_for_job(client, job_id)["status"] == "Done"
    dataset = client.get(f"/datasets/{job_id}.json").get_json()["dataset"]
    assert dataset["image_shape"] == [1, 28, 28]
    assert {split: facts["entries"] for split, facts in dataset["splits"].items()} == {"train": 150, "val": 50}
    assert client.get(f"/datasets/{job_id}").status_code == 200
    assert client.get(f"/datasets/generic/explore?job_id={job_id}&db=val").status_code == 200


def test_a_generic_dataset_remembers_how_its_pictures_were_resized(client: FlaskClient, digit_folders: Path) -> None:
    form = payloads.classification(digit_folders, resize_mode="half_crop")
    source = create(client, "images/classification", form)
    wait_for_job(client, source)
    job_id = create(client, "images/generic", payloads.generic(folder_of(client, source)))
    wait_for_job(client, job_id)
    assert client.get(f"/datasets/{job_id}.json").get_json()["dataset"]["resize_mode"] == "half_crop"


def test_a_dataset_that_another_job_reads_cannot_be_deleted(client: FlaskClient, made: str) -> None:
    job_id = create(client, "images/generic", payloads.generic(folder_of(client, made)))
    wait_for_job(client, job_id)
    answer = client.delete(f"/datasets/{made}", headers={"Accept": "application/json"})
    assert answer.status_code == 403
    assert "digits, generic" in answer.get_json()["error"]["message"]
    assert client.delete(f"/datasets/{job_id}").get_data(as_text=True) == "Job deleted."
    assert client.delete(f"/datasets/{made}").status_code == 200
    assert client.get(f"/datasets/{made}").status_code == 404


@pytest.mark.parametrize(("field", "value", "sentence"), [
    ("folder_train", "", "required"),
    ("folder_train", "relative/path", "not absolute"),
    ("folder_train", "/etc", "outside the folders"),
    ("folder_train", "{digits}/no-such-folder", "does not exist"),
    ("folder_train", "{digits}/../../../../etc", "outside the folders"),
    ("resize_width", "0", "at least 1"),
    ("resize_width", "wide", "whole number"),
    ("resize_channels", "2", "none of the choices"),
    ("resize_mode", "stretch", "none of the choices"),
    ("folder_pct_val", "101", "at most 100"),
    ("folder_pct_val", "nan", "number"),
    ("folder_pct_test", "75", "none are left"),
    ("folder_train_max_per_class", "1", "not be less than the minimum"),
    ("dataset_name", "  ", "required"),
])  # fmt: skip
def test_a_bad_field_gets_a_sentence_and_nothing_is_lost(
    client: FlaskClient, digit_folders: Path, field: str, value: str, sentence: str
) -> None:
    value = value.replace("{digits}", str(digit_folders))
    form = payloads.classification(digit_folders, **{field: value})
    answer = client.post("/datasets/images/classification.json", data=form)
    assert answer.status_code == 400
    assert sentence in " ".join(answer.get_json()["errors"][field])
    page = client.post("/datasets/images/classification", data=form)
    assert page.status_code == 400
    html = page.get_data(as_text=True)
    assert "alert-danger" in html
    if field != "dataset_name":
        assert 'value="digits"' in html, "what was typed is still there"
    assert client.get("/index.json").get_json()["datasets"] == []


@pytest.mark.parametrize(("field", "path", "sentence"), [
    ("prebuilt_train_images", "{digits}", "no LMDB"),
    ("prebuilt_train_images", "{digits}/none", "does not exist"),
    ("prebuilt_val_images", "/etc", "outside the folders"),
    ("prebuilt_mean_file", "{folder}/labels.txt", "binaryproto"),
    ("prebuilt_mean_file", "{folder}/none.binaryproto", "does not exist"),
])  # fmt: skip
def test_a_bad_path_of_a_generic_dataset_gets_a_sentence(
    client: FlaskClient, made: str, digit_folders: Path, field: str, path: str, sentence: str
) -> None:
    folder = folder_of(client, made)
    path = path.replace("{digits}", str(digit_folders)).replace("{folder}", str(folder))
    answer = client.post("/datasets/images/generic.json", data=payloads.generic(folder, **{field: path}))
    assert answer.status_code == 400
    assert sentence in " ".join(answer.get_json()["errors"][field])


def test_a_json_body_does_what_a_form_does(client: FlaskClient, digit_folders: Path) -> None:
    answer = client.post("/datasets/images/classification.json", json=payloads.classification(digit_folders))
    assert answer.get_json()["name"] == "digits"


def test_clone_fills_the_form_with_what_was_asked(client: FlaskClient, digit_folders: Path) -> None:
    form = payloads.classification(digit_folders, dataset_name="a <b>bold</b> name", folder_pct_val="33")
    job_id = create(client, "images/classification", form)
    answer = client.get(f"/clone/{job_id}", follow_redirects=True)
    page = answer.get_data(as_text=True)
    assert "a &lt;b&gt;bold&lt;/b&gt; name" in page
    assert "<b>bold</b>" not in page
    assert 'value="33"' in page


def test_a_job_is_renamed_and_annotated(client: FlaskClient, digit_folders: Path) -> None:
    job_id = create(client, "images/classification", payloads.classification(digit_folders))
    assert client.put(f"/jobs/{job_id}", data={"job_name": "New", "job_notes": "Why"}).status_code == 200
    row = client.get(f"/jobs/{job_id}/table_data.json").get_json()["job"]
    assert (row["name"], row["notes"]) == ("New", "Why")
    assert client.put(f"/jobs/{job_id}", data={"job_name": "  "}).status_code == 400
    assert client.put(f"/jobs/{job_id}", json={"job_name": "Newest"}).status_code == 200
    assert client.get(f"/jobs/{job_id}/status").get_json()["name"] == "Newest"


def test_a_change_of_what_cannot_be_changed_is_not_called_done(client: FlaskClient, digit_folders: Path) -> None:
    job_id = create(client, "images/classification", payloads.classification(digit_folders))
    for fields in ({}, {"name": "New"}, {"job_name": "New", "owner": "eve"}):
        answer = client.put(f"/jobs/{job_id}", data=fields)
        assert answer.status_code == 400
        error = answer.get_json()["error"]
        assert "job_name, job_notes, private can be changed" in error["message"]
        assert error["description"] == "Change what the message names and try again."
    assert client.get(f"/jobs/{job_id}/status").get_json()["name"] == "digits"


def test_an_unknown_job_is_not_found_in_html_and_json(client: FlaskClient) -> None:
    for path in ("/datasets/20200101-000000-0000", "/models/20200101-000000-0000", "/jobs/20200101-000000-0000"):
        page = client.get(path)
        assert page.status_code == 404
        assert "Job not found" in page.get_data(as_text=True)
    answer = client.get("/datasets/20200101-000000-0000.json")
    assert answer.get_json()["error"]["type"] == "NoSuchJob"
    assert client.get("/jobs/20200101-000000-0000/status").get_json() == {"error": "Job not found."}

"""Every bad input of a dataset or model gets a sentence at its field or on its job's page, and nothing is lost."""

import html
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.networks.starter import starter_network
from jobs.resources import DATASET_JOBS_AT_ONCE
from jobs.storage.mean import write_mean_file
from tests.conftest import wait_for_job
from tests.unit.storage_jobs import picture, save_classes, save_database, save_picture, save_pictures_database
from tests.web import payloads
from tests.web.conftest import Site


def refused(site: Site, url: str, form: dict[str, Any], field: str) -> str:
    """What the form's page and JSON both say at the field; everything that was typed is still on the page."""
    answer = site.client.post(f"/{url}.json", data=form)
    assert answer.status_code == 400, answer.get_data(as_text=True)
    said = " ".join(answer.get_json()["errors"][field])
    page = site.client.post(f"/{url}", data=form)
    assert page.status_code == 400
    text = html.unescape(page.get_data(as_text=True))
    assert said in text
    assert f'id="{field}-error"' in text
    for name, value in form.items():
        assert value in text, f"{name} is still there"
    return said


@pytest.mark.usefixtures("nothing_is_made")
class TestAtTheField:
    """What the server sees before a job is made."""

    @pytest.mark.parametrize(("path", "sentence"), [
        ("{root}/nowhere", "Folder does not exist: {root}/nowhere"),
        ("{root}", "no LMDB: it has no file data.mdb"),
        ("/etc", "outside the folders that this server may read"),
        ("{root}/../../../../../../etc", "outside the folders that this server may read"),
        ("{root}/ring/database", "outside the folders that this server may read"),
        ("pictures", "not absolute"),
        ("{root}/" + 300 * "long", "cannot be read: File name too long"),
        ("{root}/no\0name", "outside the folders that this server may read"),
    ])  # fmt: skip
    def test_a_path_of_a_database(self, site: Site, tmp_path: Path, path: str, sentence: str) -> None:
        (tmp_path / "ring").symlink_to(tmp_path / "ring")
        path = path.replace("{root}", str(tmp_path))
        form = payloads.generic(site.folder(site.classification).path, prebuilt_val_images=path)
        if "\0" in path:
            answer = site.client.post("/datasets/images/generic.json", json=form)
            assert sentence in " ".join(answer.get_json()["errors"]["prebuilt_val_images"])
        else:
            said = refused(site, "datasets/images/generic", form, "prebuilt_val_images")
            assert sentence.replace("{root}", str(tmp_path)) in said

    def test_a_link_that_leads_out_of_the_roots(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "out").symlink_to("/etc")
        form = payloads.classification(tmp_path / "out")
        assert "outside the folders" in refused(site, "datasets/images/classification", form, "folder_train")

    @pytest.mark.parametrize(("field", "value", "sentence"), [
        ("train_epochs", "0", "at least 1"),
        ("train_epochs", "many", "whole number"),
        ("train_epochs", "1" + 5000 * "0", "too large"),
        ("batch_size", "-1", "at least 1"),
        ("learning_rate", "0", "more than 0"),
        ("learning_rate", "nan", "must be a number"),
        ("lr_step_size", "nan", "100"),
        ("lr_multistep_values", "50,nan", "must be a number"),
        ("lr_multistep_values", "50,101", "at most 100"),
        ("lr_multistep_values", "50;85", "commas between them"),
        ("lr_policy", "up and down", "none of the choices"),
        ("solver_type", "LBFGS", "none of the choices"),
        ("random_seed", str(2**63), "less than"),
        ("crop_size", "29", "larger than the images, whose smaller side has 28 pixels"),
        ("model_name", 201 * "x", "at most 200 characters"),
        ("dataset", "../../etc", "not the id of a dataset"),
        ("framework", "caffe", "none of the choices: 'pytorch' or 'torch'"),
    ])  # fmt: skip
    def test_a_field_of_a_model_out_of_range(self, site: Site, field: str, value: str, sentence: str) -> None:
        form = payloads.model(site.generic, **{field: value})
        if field in ("dataset", "lr_policy", "solver_type", "framework"):
            answer = site.client.post("/models/images/generic.json", data=form)
            assert sentence in " ".join(answer.get_json()["errors"][field])
        else:
            assert sentence in refused(site, "models/images/generic", form, field)

    @pytest.mark.parametrize(("text", "sentence"), [
        ("import torch\ndef network(params)\n    pass", "Line 2: expected ':'"),
        ("def network(params):\nreturn 1", "Line 2: expected an indented block"),
        ("x = 'open", "Line 1: unterminated string"),
        ("x = " + 5000 * "(" + 5000 * ")", "too many nested parentheses"),
        ("x = a" + 100_000 * ".a", "nested too deep"),
        ("   \n", "Paste a network"),
    ])  # fmt: skip
    def test_a_network_that_does_not_parse(self, site: Site, text: str, sentence: str) -> None:
        form = payloads.model(site.generic, custom_network=text)
        assert sentence in refused(site, "models/images/generic", form, "custom_network")

    def test_lua_under_the_name_of_pytorch(self, site: Site) -> None:
        form = payloads.model(site.generic, custom_network=starter_network((1, 28, 28), "torch"))
        assert "Line 1: invalid syntax" in refused(site, "models/images/generic", form, "custom_network")

    @pytest.mark.parametrize(("framework", "path", "sentence"), [
        ("torch", "{root}/nowhere.t7", "File does not exist: {root}/nowhere.t7"),
        ("torch", "{root}/weights.pt", "Torch keeps weights in .t7 files"),
        ("torch", "/etc/passwd", "outside the folders that this server may read"),
        ("torch", "{root}/a_Model.t7:{root}/b_Model.t7", "File does not exist"),
        ("pytorch", "{root}/a_Model.t7", "choose Torch, or leave this blank"),
    ])  # fmt: skip
    @pytest.mark.parametrize("name", ["pretrained_model", "custom_network_snapshot"])
    def test_weights_of_torch(
        self, site: Site, tmp_path: Path, name: str, framework: str, path: str, sentence: str
    ) -> None:
        for file in ("weights.pt", "a_Model.t7"):
            (tmp_path / file).touch()
        path, sentence = (text.replace("{root}", str(tmp_path)) for text in (path, sentence))
        network = starter_network((1, 28, 28), "torch" if framework == "torch" else "pytorch")
        form = payloads.model(site.generic, framework=framework, custom_network=network, **{name: path})
        answer = site.client.post("/models/images/generic.json", data=form)
        assert answer.status_code == 400
        assert sentence in " ".join(answer.get_json()["errors"]["pretrained_model"])

    def test_a_mean_that_the_dataset_does_not_have(self, site: Site) -> None:
        form = payloads.model(site.without_mean)
        assert "The dataset has no mean image" in refused(site, "models/images/generic", form, "use_mean")

    def test_a_dataset_of_another_kind_and_one_that_is_no_dataset(self, site: Site) -> None:
        form = payloads.model(site.classification)
        assert "no generic dataset" in refused(site, "models/images/generic", form, "dataset")


def test_a_dataset_deleted_while_its_form_was_open(site: Site) -> None:
    dataset = site.done(site.make_generic(site.folder(site.classification).path, dataset_name="gone soon"))
    assert site.client.delete(f"/datasets/{dataset}").status_code == 200
    form = payloads.model(dataset)
    said = refused(site, "models/images/generic", form | {"dataset": dataset}, "dataset")
    assert "does not exist (any more)" in said
    answer = site.client.post("/models/visualize-network", data=form, headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert "Job not found" in answer.get_json()["error"]["message"]


def test_a_dataset_whose_folder_is_removed_by_hand_breaks_no_other_page(site: Site) -> None:
    dataset = site.done(site.make_generic(site.folder(site.classification).path, dataset_name="removed"))
    # No worker begins in between.
    with site.services.scheduler.turn:
        model = site.make_model(dataset=dataset, use_mean="none")
        shutil.rmtree(site.folder(dataset).path)
    assert "was deleted or is not finished" in site.cause_on_page(model)
    for page in ("/", "/index.json", "/models/images/generic/new", f"/models/{model}", f"/models/{model}.json"):
        assert site.client.get(page).status_code == 200, page
    answer = site.client.get(f"/datasets/{dataset}")
    assert answer.status_code == 404
    assert "gone from the data directory" in answer.get_data(as_text=True)
    for job_id in (model, dataset):
        assert site.client.delete(f"/jobs/{job_id}").status_code == 200
    site.job_ids()


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("spec.json", "{}", "was changed after the job was entered"),
        ("extensions.json", '{"epochs": [[', "cannot be read from its extensions.json"),
        ("extensions.json", "[1]", "cannot be read from its extensions.json"),
    ],
)
def test_a_model_whose_own_code_wrote_over_its_plan_says_so_on_its_page(
    site: Site, tmp_path: Path, file: str, content: str, sentence: str
) -> None:
    model = site.make_model()
    wait_for_job(site.client, model)
    path = site.folder(model).path / file
    before = path.read_bytes() if path.exists() else None
    path.write_text(content)
    for page in (f"/models/{model}", f"/models/{model}.json", f"/models/images/generic/new?clone={model}"):
        answer = site.client.get(page)
        assert answer.status_code == 400, page
        assert sentence in html.unescape(answer.get_data(as_text=True))
    assert site.client.get("/index.json").status_code == 200
    if before is not None:
        path.write_bytes(before)
    assert site.client.delete(f"/jobs/{model}").status_code == 200


def mixed_shapes(folder: Path) -> dict[str, str]:
    pictures = [picture(1), picture(2), picture(3, height=20)]
    return {"prebuilt_train_images": str(save_pictures_database(folder / "mixed_db", pictures))}


def truncated(folder: Path) -> dict[str, str]:
    database = save_pictures_database(folder / "short_db", [picture(seed) for seed in range(50)])
    with (database / "data.mdb").open("rb+") as file:
        file.truncate((database / "data.mdb").stat().st_size // 2)
    return {"prebuilt_train_images": str(database)}


def overwritten(folder: Path) -> dict[str, str]:
    database = save_pictures_database(folder / "bad_db", [picture(seed) for seed in range(50)])
    with (database / "data.mdb").open("rb+") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 8)
    return {"prebuilt_train_images": str(database)}


def no_lmdb(folder: Path) -> dict[str, str]:
    (folder / "text_db").mkdir()
    (folder / "text_db" / "data.mdb").write_text("This is a text.")
    return {"prebuilt_train_images": str(folder / "text_db")}


def no_bytes(folder: Path) -> dict[str, str]:
    (folder / "zero_db").mkdir()
    (folder / "zero_db" / "data.mdb").touch()
    return {"prebuilt_train_images": str(folder / "zero_db")}


def no_datum(folder: Path) -> dict[str, str]:
    return {"prebuilt_train_images": str(save_database(folder / "other_db", [b"neither fish nor fowl"]))}


def mean_of_another_shape(folder: Path) -> dict[str, str]:
    write_mean_file(folder / "mean.binaryproto", np.zeros((1, 20, 20), np.float32))
    return {"prebuilt_mean_file": str(folder / "mean.binaryproto")}


def mean_that_is_text(folder: Path) -> dict[str, str]:
    (folder / "text.binaryproto").write_text("This is a text.")
    return {"prebuilt_mean_file": str(folder / "text.binaryproto")}


def mean_without_bytes(folder: Path) -> dict[str, str]:
    (folder / "zero.binaryproto").touch()
    return {"prebuilt_mean_file": str(folder / "zero.binaryproto")}


@pytest.mark.parametrize(("fault", "sentence"), [
    (mixed_shapes, 'Images with different shapes found: 28x28x1 and 28x20x1 (width x height x channels; record "2"'),
    (truncated, "is cut off: data.mdb has"),
    (overwritten, "is damaged"),
    (no_lmdb, "is no LMDB of this kind of machine"),
    (no_bytes, "is no LMDB of this kind of machine"),
    (no_datum, 'Record "0" of the database'),
    (mean_of_another_shape, "is 20x20x1 and the images are 28x28x1"),
    (mean_that_is_text, "mean"),
    (mean_without_bytes, "no single image"),
])  # fmt: skip
def test_a_fault_that_only_the_work_meets_is_on_the_job_page(
    site: Site, tmp_path: Path, fault: Callable[[Path], dict[str, str]], sentence: str
) -> None:
    dataset = site.make_generic(site.folder(site.classification).path, **fault(tmp_path))
    assert sentence in site.cause_on_page(dataset)
    left = {path.name for path in site.folder(dataset).path.iterdir() if path.suffix in (".npy", ".json")}
    assert left == {"spec.json"}, "a dataset is made whole or not at all"
    form = payloads.model(dataset)
    answer = site.client.post("/models/images/generic.json", data=form)
    assert "was not made" in " ".join(answer.get_json()["errors"]["dataset"])


def test_a_job_whose_dataset_fails_is_told_so(site: Site, tmp_path: Path) -> None:
    # The dataset waits behind two others until the model is entered.
    others = [site.make("datasets/images/classification", payloads.long_classification(site.digits))
              for _ in range(DATASET_JOBS_AT_ONCE)]  # fmt: skip
    dataset = site.make_generic(site.folder(site.classification).path, **truncated(tmp_path), dataset_name="broken")
    model = site.make_model(dataset=dataset)
    for other in others:
        site.client.post(f"/jobs/{other}/abort")
    status = wait_for_job(site.client, model)
    assert status["status"] == "Aborted"
    assert '"broken" did not succeed' in status["cause"]


def save_odd_pictures(folder: Path) -> None:
    """Two classes of good pictures, and beside them all that may lie in a folder."""
    save_classes(folder, a=4, b=4)
    good = Image.fromarray(picture(7, 40, 50, 3).transpose(1, 2, 0))
    good.save(folder / "a" / "with spaces é 😀.jpg")
    good.save(bytes(folder / "a") + b"/latin-\xe9.png", "PNG")
    good.save(folder / "a" / "line\nbreak.png")
    Image.fromarray(np.full((1, 1), 9, np.uint8)).save(folder / "a" / "one-pixel.png")
    Image.fromarray(np.arange(0, 65536, 64, np.uint16).reshape(32, 32)).save(folder / "a" / "sixteen-bit.png")
    good.convert("CMYK").save(folder / "a" / "cmyk.jpg")
    good.convert("P").save(folder / "b" / "palette.png")
    good.save(folder / "b" / "animated.gif", save_all=True, append_images=[good.rotate(90)])
    for name in ("short.png", "short.jpg"):
        good.save(folder / "b" / name)
        content = (folder / "b" / name).read_bytes()
        (folder / "b" / name).write_bytes(content[: len(content) // 2])
    (folder / "b" / "zero.png").touch()
    (folder / "b" / "text.png").write_text("This is a text.")
    (folder / "b" / "folder.png").mkdir()
    (folder / "b" / "nowhere.png").symlink_to(folder / "nowhere")


def test_odd_pictures_are_read_or_listed_with_their_reasons(site: Site, tmp_path: Path) -> None:
    save_odd_pictures(tmp_path)
    job_id = site.done(site.make_classification(tmp_path, resize_channels="3", folder_pct_val="0"))
    made = site.folder(job_id).read_dataset()["splits"]["train"]
    assert made["entries"] == 8 + 7, "good ones, and those of unusual kinds"
    skipped = {Path(file["path"]).name: file["reason"]
               for event in site.events(job_id, "skipped") for file in event["files"]}  # fmt: skip
    assert set(skipped) == {"short.png", "short.jpg", "zero.png", "text.png", "nowhere.png"}
    assert "damaged" in skipped["short.png"]
    assert "no picture" in skipped["text.png"]
    assert "No such file" in skipped["nowhere.png"]
    (warning,) = [event["text"] for event in site.events(job_id, "message")]
    assert "line break in their names: 1 files" in warning
    assert site.client.get(f"/datasets/{job_id}").status_code == 200


def test_odd_class_names_are_shown_as_text(site: Site, tmp_path: Path) -> None:
    names = ["<script>alert(1)<∕script>", "😀 cats", os.fsdecode(b"caf\xe9"), "line\nbreak", 200 * "x"]
    for seed, name in enumerate(names):
        for number in range(4):
            save_picture(tmp_path / "good.png", picture(100 * seed + number))
            # Pillow takes no name without UTF-8.
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / "good.png").rename(tmp_path / name / f"{number}.png")
    odd = "<b>bold</b> 😀\nnew line"
    job_id = site.done(site.make_classification(tmp_path, dataset_name=odd))
    labels = site.folder(job_id).read_dataset()["labels"]
    assert len(labels) == 4
    assert (site.folder(job_id).path / "labels.txt").read_bytes().count(b"\n") == 4
    for url in (f"/datasets/{job_id}", f"/datasets/images/classification/explore?job_id={job_id}", "/"):
        answer = site.client.get(url)
        assert answer.status_code == 200
        text = answer.get_data(as_text=True)
        assert "<script>alert" not in text
        assert "<b>bold" not in text
    assert site.client.get(f"/datasets/{job_id}.json").get_json()["name"] == odd
    assert site.client.get(f"/jobs/{job_id}/events").get_json()["events"]


def test_a_cause_that_names_a_folder_without_utf8_is_kept(site: Site, tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9")).mkdir()
    cause = site.cause_on_page(site.make_classification(tmp_path))
    assert "needs two or more class folders" in cause


@pytest.mark.parametrize(("counts", "sentence"), [
    ({}, "Folders found, with their pictures: none"),
    ({"only": 5}, "Folders found, with their pictures: only (5)"),
    ({"many": 5, "one": 1}, "many (5), one (1)"),
])  # fmt: skip
def test_a_folder_of_fewer_than_two_classes(site: Site, tmp_path: Path, counts: dict[str, int], sentence: str) -> None:
    save_classes(tmp_path, **counts)
    assert sentence in site.cause_on_page(site.make_classification(tmp_path))


def test_a_folder_without_one_good_picture(site: Site, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.png").touch()
    job_id = site.make_classification(tmp_path)
    assert "None of the 6 pictures for train_db could be read" in site.cause_on_page(job_id)
    assert site.events(job_id, "skipped")[0]["count"] == 6


def test_an_address_that_asks_for_what_is_not_there(site: Site) -> None:
    get = site.client.get
    for url in (f"/datasets/{site.generic}/image/train/999999", f"/datasets/{site.generic}/image/nothing/0"):
        assert get(url).status_code == 404
    for size in ("0", "-5", "many"):
        assert get(f"/datasets/explore?job_id={site.generic}&size={size}").status_code == 200
    assert get(f"/datasets/images/generic/new?from={site.generic}").status_code == 400
    for since in ("-1", str(10**30)):
        assert get(f"/jobs/{site.generic}/events?since={since}").status_code == 400
    assert get("/autocomplete/path?query=/no%00name").get_json() == {"suggestions": []}


def test_a_class_folder_that_became_a_link_out_of_the_roots_is_left_out(site: Site, tmp_path: Path) -> None:
    """The worker is told of the server's data roots, and looks again."""
    save_classes(tmp_path, a=4, b=4)
    (tmp_path / "c").symlink_to("/usr/share")
    job_id = site.done(site.make_classification(tmp_path))
    assert site.folder(job_id).read_dataset()["labels"] == ["a", "b"]
    (warning,) = [event["text"] for event in site.events(job_id, "message")]
    assert "links that lead out of the folders that this server may read: 1 files or folders" in warning

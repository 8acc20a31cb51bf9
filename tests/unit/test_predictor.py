"""The warm process behind Test One, fed as the server feeds it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.folder import JobFolder
from jobs.networks.starter import starter_network
from jobs.training.job import train
from tests.unit.digits_jobs import DATASET, MODEL, digits, make_dataset, model_job

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def jobs_dir(tmp_path_factory) -> Path:
    """A dataset, and a model that has learnt a little from it."""
    jobs_dir: Path = tmp_path_factory.mktemp("jobs")
    make_dataset(jobs_dir, train=256, val=0)
    text = "print('the network speaks')\n" + starter_network((1, 28, 28))
    train(model_job(jobs_dir, custom_network=text, train_epochs=40, batch_size=16, snapshot_interval=20))
    return jobs_dir


def predictor(jobs_dir: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "jobs.predictor", str(jobs_dir / MODEL), str(jobs_dir / DATASET)]


@pytest.fixture(scope="module")
def ask(jobs_dir: Path, tmp_path_factory) -> Iterator[Ask]:
    process = subprocess.Popen(
        predictor(jobs_dir),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ask(**request: Any) -> dict[str, Any]:
        process.stdin.write(json.dumps({"id": 7, **request}) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        assert answer["id"] == 7
        return answer

    yield ask
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the network speaks" in log


@pytest.fixture(scope="module")
def digit(tmp_path_factory) -> str:
    """A digit that the model has not seen, in colour and of another size."""
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray(digits(400)[399, 0]).convert("RGB").resize((56, 56)).save(path)
    return str(path)


def test_prediction_shows_the_four_pictures_and_the_error(ask, digit):
    prediction = ask(epoch=40, image=digit)["prediction"]
    assert prediction["snapshot"] == "snapshot of epoch 40"
    assert prediction["image"] == "digit.png"
    assert [picture["key"] for picture in prediction["pictures"]] == [
        "original",
        "normalized",
        "code",
        "output",
        "error",
    ]
    assert [picture["title"] for picture in prediction["pictures"]][3] == "Reconstruction"
    sizes = [(shown["picture"]["width"], shown["picture"]["height"]) for shown in prediction["pictures"]]
    assert sizes == [(28, 28), (28, 28), (7, 8), (28, 28), (28, 28)]
    normalized, output = (prediction["pictures"][place]["picture"] for place in (1, 3))
    assert (normalized["minimum"], normalized["maximum"]) == (output["minimum"], output["maximum"])
    assert prediction["error"]["correlation"] > 0.4
    assert prediction["error"]["mse"] > 0
    assert prediction["layers"] == []
    assert prediction["total_parameters"] == 501_834
    assert prediction["code_layer"] == 4
    (image,) = prediction["outputs"]["output"]
    assert (len(image), len(image[0]), len(image[0][0])) == (1, 28, 28)


def test_visualizations_list_every_layer(ask, digit):
    layers = ask(image=digit, show_visualizations=True, colormap="viridis")["prediction"]["layers"]
    assert [row["index"] for row in layers if row["kind"] == "activations"] == list(range(10))
    assert sum(row["parameters"] or 0 for row in layers) == 501_834
    assert {row["picture"]["colormap"] for row in layers if row["picture"]} == {"viridis"}
    assert all(row["not_drawn"] for row in layers if row["kind"] == "weights")


def test_newest_snapshot_is_taken_when_none_is_named(ask, digit):
    assert ask(image=digit)["prediction"]["snapshot"] == "snapshot of epoch 40"
    assert ask(image=digit, epoch=20)["prediction"]["snapshot"] == "snapshot of epoch 20"


def test_snapshots_differ(ask, digit):
    errors = [ask(image=digit, epoch=epoch)["prediction"]["error"]["mse"] for epoch in (20, 40, 20)]
    assert errors[0] == errors[2] != errors[1]


def test_a_warm_request_takes_a_tenth_of_a_cold_one(ask, digit, jobs_dir):
    """How long it takes, `tests/benchmarks/warm_prediction.py` measures; here other tests may be at work."""
    request = {"image": digit, "show_visualizations": True}
    started = time.perf_counter()
    subprocess.run(
        predictor(jobs_dir), input=json.dumps({"id": 7, **request}), capture_output=True, text=True, check=True
    )
    cold = time.perf_counter() - started
    ask(**request)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        ask(**request)
        times.append(time.perf_counter() - started)
    assert min(times) < cold / 10


def test_each_wrong_request_gets_its_sentence_and_the_next_one_works(ask, digit, tmp_path):
    no_picture = tmp_path / "no.png"
    no_picture.write_text("no picture")
    assert ask(image=str(no_picture))["error"]["type"] == "BadImage"
    assert ask(image=str(tmp_path / "none.png"))["error"]["type"] == "BadImage"
    assert "no snapshot of epoch 3. There are: 20, 40" in ask(image=digit, epoch=3)["error"]["message"]
    assert "prediction" in ask(image=digit)


def test_model_without_snapshot_says_so(tmp_path, digit):
    make_dataset(tmp_path)
    job = model_job(tmp_path)
    request = json.dumps({"id": 1, "image": digit}) + "\n"
    arguments = [sys.executable, "-P", "-m", "jobs.predictor", job.folder.path, job.sibling(job.spec.dataset).path]
    done = subprocess.run(arguments, input=request, capture_output=True, text=True, timeout=60, check=True)
    assert "no snapshot yet" in json.loads(done.stdout)["error"]["message"]


def test_folder_of_the_fixture_is_found(jobs_dir):
    assert JobFolder(jobs_dir / "20250101-000000-0de1").snapshot_epochs() == [20, 40]

"""The curve of a training over HTTP: what a page, a script or a spreadsheet gets of it."""

import csv
import io
from typing import Any

import pytest

from tests.conftest import ENDED
from tests.web.conftest import Site


@pytest.fixture(scope="module")
def model(whole_site: Site) -> str:
    """A training that is done: 6 epochs in batches of 10."""
    return whole_site.done(whole_site.make_model(train_epochs="6", batch_size="10", live_layers="0"))


def losses(site: Site, job_id: str) -> list[float]:
    return [loss for event in site.events(job_id, "train") for loss in event["loss"]]


def curve(site: Site, job_id: str, **query: Any) -> dict[str, Any]:
    answer = site.client.get(f"/models/{job_id}/curve.json", query_string=query)
    assert answer.status_code == 200, answer.get_json()
    told: dict[str, Any] = answer.get_json()
    return told


def test_the_curve_is_what_the_events_say(site: Site, model: str) -> None:
    told = curve(site, model)
    assert told["train"]["loss"] == losses(site, model)
    assert told["points"] == len(losses(site, model))
    assert told["validation"]["epoch"] == [1, 2, 3, 4, 5, 6]
    assert told["next"] == site.folder(model).events.stat().st_size


def test_a_part_of_the_curve_and_few_points_of_it(site: Site, model: str) -> None:
    part = curve(site, model, **{"from": 2, "to": 3})
    assert part["train"]["epoch"][0] >= 2
    assert part["train"]["epoch"][-1] <= 3
    assert part["validation"]["epoch"] == [2, 3]
    few = curve(site, model, buckets=2)
    assert not few["whole"]
    assert max(few["train"]["loss"]) == max(losses(site, model))
    assert "smooth" in curve(site, model, smoothing=0.2)["train"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=two", "`from` is 'two' and must be a number."),
        ("to=nan", "`to` is 'nan' and must be a number."),
        ("from=3&to=2", "must not lie behind"),
        ("buckets=0", "`buckets` must be a whole number from 1"),
        ("buckets=1.5", "`buckets` must be a whole number from 1"),
        ("buckets=1000000", "`buckets` must be a whole number from 1"),
        ("smoothing=-1", "`smoothing` must be a share"),
    ],
)
def test_bad_parameters_are_answered_with_a_sentence(site: Site, model: str, query: str, said: str) -> None:
    answer = site.client.get(f"/models/{model}/curve.json?{query}")
    assert answer.status_code == 400
    assert said in answer.get_json()["error"]["message"]


def test_only_models_have_curves(site: Site) -> None:
    for name in ("curve.json", "epochs.json", "curve.csv"):
        assert site.client.get(f"/models/20200101-000000-ffff/{name}").status_code == 404
        assert site.client.get(f"/models/{site.generic}/{name}").status_code == 404


def test_the_csv_opens_in_a_spreadsheet(site: Site, model: str) -> None:
    answer = site.client.get(f"/models/{model}/curve.csv")
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [float(row["training_loss"]) for row in rows] == losses(site, model)
    assert [row["epoch"] for row in rows if row["validation_loss"]] == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]


def test_each_epoch_has_a_row(site: Site, model: str) -> None:
    rows = site.client.get(f"/models/{model}/epochs.json").get_json()
    assert rows["epoch"] == [1, 2, 3, 4, 5, 6]
    assert all(
        low <= mean <= high for low, mean, high in zip(rows["lowest"], rows["mean"], rows["highest"], strict=True)
    )


def test_events_without_points_and_the_last_of_those_that_pass(site: Site, model: str) -> None:
    query = "without=train,validation&latest=progress,usage"
    answer = site.client.get(f"/jobs/{model}/events?{query}").get_json()
    types = [event["type"] for event in answer["events"]]
    assert not {"train", "validation"} & set(types)
    assert types.count("progress") == types.count("usage") == 1
    progress = next(event for event in answer["events"] if event["type"] == "progress")
    assert progress["fraction"] == 1
    assert types[-1] == "finished"
    assert answer["next"] == site.folder(model).events.stat().st_size
    half = site.client.get(f"/jobs/{model}/events?until={answer['next']}&since={answer['next']}").get_json()
    assert (half["events"], half["next"], half["more"]) == ([], answer["next"], False)


def test_the_curve_of_a_deleted_model_is_forgotten(site: Site) -> None:
    job_id = site.done(site.make_model(train_epochs="1", live_layers="0"))
    curve(site, job_id)
    with site.services.curves.read(site.folder(job_id).events) as before:
        assert before.train.size
    assert site.client.delete(f"/jobs/{job_id}").status_code == 200
    with site.services.curves.read(site.folder(job_id).events) as after:
        assert after is not before


def test_types_that_are_none_are_refused(site: Site, model: str) -> None:
    answer = site.client.get(f"/jobs/{model}/events?without=train;x")
    assert answer.status_code == 400
    answer = site.client.get(f"/jobs/{model}/events?until=-5", headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert "`until`" in answer.get_json()["error"]["message"]


def test_a_visitor_in_mid_training_gets_every_point_once(site: Site) -> None:
    """What static/js/live.js does: the curve, the events up to its end without points, then all events."""
    job_id = site.make_model(train_epochs="60", batch_size="4", live_layers="0", snapshot_interval="0")
    site.until_event(job_id, "train")
    while True:
        told = curve(site, job_id, buckets=5000)
        steps, since = told["train"]["step"], 0
        while since < told["next"]:
            query = f"since={since}&until={told['next']}&without=train,validation"
            answer = site.client.get(f"/jobs/{job_id}/events?{query}").get_json()
            assert all(event["type"] not in ("train", "validation") for event in answer["events"])
            since = answer["next"]
        assert since == told["next"]
        is_over = site.client.get(f"/jobs/{job_id}/status").get_json()["status"] in ENDED
        more = True
        while more:
            answer = site.client.get(f"/jobs/{job_id}/events?since={since}").get_json()
            steps += [step for event in answer["events"] if event["type"] == "train" for step in event["step"]]
            since, more = answer["next"], answer["more"]
        assert steps == list(range(1, len(steps) + 1))
        if is_over:
            break
    assert len(steps) == len(losses(site, job_id))


def test_digits_address_of_the_large_chart(site: Site, model: str) -> None:
    answer = site.client.get(f"/models/images/generic/large_graph?job_id={model}")
    assert answer.status_code == 302
    assert answer.location == f"/models/{model}#large"
    assert site.client.get("/models/images/generic/large_graph?job_id=none").status_code == 404

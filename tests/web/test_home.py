"""The home page's addresses: pages, filter and order over all jobs, and DIGITS's lists of everything."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.statuses import Status
from jobs.store import Store
from tests.past_jobs import write_past_jobs
from webapp import create_app
from webapp.config import Settings
from webapp.services import Services

JOBS = 200
MODELS = 160


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An app that knows two hundred jobs; its scheduler does not run."""
    settings = Settings(tmp_path_factory.mktemp("home"), ())
    write_past_jobs(settings, JOBS)
    app = create_app(settings)
    services: Services = app.extensions["layerscope"]
    for name in ("run 10", "run 9", "Run 11"):
        add_waiting(services.store, name)
    yield app
    services.close()


def add_waiting(store: Store, name: str) -> None:
    store.add(name.replace(" ", "-"), "generic-image-model", "model", name, "", 2e9, None)
    store.move(name.replace(" ", "-"), Status.INITIALIZED, Status.WAITING, 2e9)


def tables(client: FlaskClient, **wanted: str | int) -> dict[str, Any]:
    answer = client.get("/tables.json", query_string={key.replace("_", "."): value for key, value in wanted.items()})
    assert answer.status_code == 200, answer.get_json()
    found: dict[str, Any] = answer.get_json()
    return found


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_the_pages_of_a_table_are_the_whole_table(client: FlaskClient) -> None:
    everything = client.get("/completed_jobs.json").get_json()
    assert {key: len(everything[key]) for key in ("running", "models", "datasets", "pretrained_models")} == {
        "running": 3, "models": MODELS, "datasets": JOBS - MODELS, "pretrained_models": 0}  # fmt: skip
    pages = tables(client)["models"]["pages"]
    shown = [row for page in range(1, pages + 1) for row in tables(client, models_page=page)["models"]["rows"]]
    assert ids(shown) == ids(everything["models"]), "newest first"
    assert shown == everything["models"]


@pytest.mark.parametrize("page", ["1000", "9" * 30])
def test_the_last_page_stands_for_one_that_is_gone(client: FlaskClient, page: str) -> None:
    models = tables(client, models_page=page)["models"]
    assert models["page"] == models["pages"]
    assert models["rows"]


def test_numbers_in_names_are_sorted_as_numbers(client: FlaskClient) -> None:
    running = tables(client, running_sort="name", running_order="ascending")["running"]
    assert [row["name"] for row in running["rows"]] == ["run 9", "run 10", "Run 11"]


@pytest.mark.parametrize("key", ["loss (train) last", "elapsed", "submitted", "refs", "status"])
def test_every_column_sorts_all_jobs_both_ways(client: FlaskClient, key: str) -> None:
    table = "datasets" if key == "refs" else "models"
    everything = client.get("/completed_jobs.json").get_json()[table]
    for order in ("ascending", "descending"):
        query = {f"{table}.sort": key, f"{table}.order": order}
        shown = client.get("/tables.json", query_string=query).get_json()[table]["rows"]
        expected = sorted((row[key] for row in everything), reverse=order == "descending")
        assert [row[key] for row in shown] == expected[: len(shown)]


def test_what_has_no_value_comes_last(client: FlaskClient) -> None:
    for order in ("ascending", "descending"):
        query = {"running.sort": "seconds_left", "running.order": order}
        assert len(client.get("/tables.json", query_string=query).get_json()["running"]["rows"]) == 3


def test_the_filter_looks_at_all_jobs_and_all_words(client: FlaskClient) -> None:
    everything = client.get("/completed_jobs.json").get_json()["models"]
    expected = [row["id"] for row in everything if row["name"].startswith("ÜBERBLICK") and row["status"] == "Error"]
    found = tables(client, filter="  überblick ERROR ")["models"]
    assert found["matching"] == len(expected)
    assert found["total"] == MODELS
    assert ids(found["rows"]) == expected[: len(found["rows"])]
    every = client.get("/tables/models/names.json?filter=überblick+error").get_json()["names"]
    assert [one["id"] for one in every] == expected
    assert tables(client, filter="Generic Image Model")["models"]["matching"] == MODELS, "the kind's title counts"
    assert tables(client, filter="no such job %_'\"")["models"] | {"rows": []} == {
        "rows": [], "total": MODELS, "matching": 0, "page": 1, "pages": 1, "first": 0,
        "filter": "no such job %_'\"", "sort": "submitted", "order": "descending"}  # fmt: skip
    assert tables(client, filter="word " * 5000)["models"]["matching"] == 0


def test_the_page_shows_what_its_address_says(client: FlaskClient) -> None:
    page = client.get("/?filter=<b>run&running.sort=name").get_data(as_text=True)
    assert 'value="&lt;b&gt;run"' in page


@pytest.mark.parametrize("query", ["models.sort=cause", "models.order=up"])
def test_a_wish_that_makes_no_sense_is_refused_in_words(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/tables.json?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["message"].endswith(".")
    assert client.get(f"/?{query}").status_code == 400


def test_a_table_that_there_is_not(client: FlaskClient) -> None:
    answer = client.get("/tables/networks/names.json")
    assert answer.status_code == 404
    assert "running, models, datasets" in answer.get_json()["error"]["message"]


def test_one_row_is_as_in_the_list(client: FlaskClient) -> None:
    row = client.get("/completed_jobs.json").get_json()["datasets"][3]
    assert row["refs"] == 4
    assert client.get(f"/jobs/{row['id']}/table_data.json").get_json()["job"] == row
    assert client.get("/jobs/none/table_data.json").status_code == 404


def test_the_index_names_everything(client: FlaskClient) -> None:
    index = client.get("/index.json").get_json()
    assert len(index["models"]) == MODELS + 3
    assert len(index["datasets"]) == JOBS - MODELS
    assert set(index["datasets"][0]) == {"id", "name", "status"}
    assert index["models"][-1]["dataset_id"] == index["datasets"][-1]["id"]
    assert client.get("/", headers={"Accept": "application/json"}).get_json() == index


def test_what_cannot_be_deleted_is_told_one_by_one(client: FlaskClient) -> None:
    read = [row["id"] for row in client.get("/completed_jobs.json").get_json()["datasets"]][:2]
    form = {"job_ids[]": [*read, "none"]}
    answer = client.delete("/jobs", data=form, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    faults = answer.get_json()["faults"]
    assert len(faults) == 3
    assert "4 jobs depend on it" in faults[0]
    assert client.delete("/jobs", data=form).get_data(as_text=True) == " ".join(faults), "as DIGITS's clients know it"

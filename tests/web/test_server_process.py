"""What the server's process holds, and what it does not."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from tests.conftest import start_server
from tests.past_jobs import write_past_jobs
from webapp.config import Settings

VISIT_EVERYTHING = """
import sys
from pathlib import Path
from webapp import create_app
from webapp.config import Settings
from tests.conftest import save_digits, wait_for_job
from tests.web import payloads

folder = Path(sys.argv[1])
digits = save_digits(folder / "digits", 60)
app = create_app(Settings(folder / "data", (folder,)))
app.extensions["layerscope"].scheduler.start()
client = app.test_client()
made = client.post("/datasets/images/classification.json", data=payloads.classification(digits)).get_json()["id"]
assert wait_for_job(client, made)["status"] == "Done"
directory = Path(client.get(f"/datasets/{made}.json").get_json()["directory"])
generic = client.post("/datasets/images/generic.json", data=payloads.generic(directory)).get_json()["id"]
assert wait_for_job(client, generic)["status"] == "Done"
model = client.post("/models/images/generic.json", data=payloads.model(generic, train_epochs="1")).get_json()["id"]
assert wait_for_job(client, model)["status"] == "Done"
picture = str(next(digits.rglob("*.png")))
for path in ("/", "/index.json", "/datasets/images/classification/new", "/datasets/images/generic/new.json",
             "/models/images/generic/new", f"/datasets/{made}", f"/datasets/{generic}", f"/models/{model}",
             f"/datasets/explore?job_id={made}", f"/datasets/generic/explore.json?job_id={generic}",
             f"/datasets/{made}/image/train/0", f"/jobs/{model}/events", f"/jobs/{model}/log"):
    assert client.get(path).status_code == 200, path
assert client.post("/models/visualize-lr", data={}).status_code == 200
test_one = {"job_id": model, "image_path": picture, "show_visualizations": "1"}
assert client.post("/models/images/generic/infer_one", data=test_one).status_code == 200
app.extensions["layerscope"].close()
print("found:", *sorted({"torch", "torchvision", "lmdb", "google"} & set(sys.modules)))
"""

VISIT_LISTS_AND_FORMS = """
import sys
from pathlib import Path
from webapp import create_app
from webapp.config import Settings

app = create_app(Settings(Path(sys.argv[1]) / "data", ()))
client = app.test_client()
for path in ("/", "/tables.json", "/index.json", "/datasets/images/classification/new", "/datasets/images/generic/new",
             "/models/images/generic/new"):
    assert client.get(path).status_code == 200, path
app.extensions["layerscope"].close()
print("found:", *sorted({"numpy", "PIL", "lmdb", "google", "matplotlib", "sklearn", "torch"} & set(sys.modules)))
"""
MOST_BYTES = 80_000_000


@pytest.mark.parametrize("visit", [VISIT_EVERYTHING, VISIT_LISTS_AND_FORMS], ids=["everything", "lists and forms"])
def test_the_server_imports_only_what_its_pages_need(tmp_path: Path, visit: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", visit, str(tmp_path)],
        cwd=root, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "found:"


def test_a_server_that_showed_ten_thousand_jobs_is_small(tmp_path: Path) -> None:
    write_past_jobs(Settings(tmp_path, ()), 10_000)
    server = start_server(tmp_path)
    for _ in range(5):
        assert requests.get(server.url, timeout=60).ok
    processes = psutil.Process(server.process.pid).children()
    worker = next(process for process in processes if "webapp.cli" in process.cmdline())
    assert worker.memory_info().rss < MOST_BYTES
    server.stop()

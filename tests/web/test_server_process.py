"""What the server's process holds, and what it does not."""

import subprocess
import sys
from pathlib import Path

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
print("found:", *sorted({"torch", "torchvision"} & set(sys.modules)))
"""


def test_the_server_never_imports_torch(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", VISIT_EVERYTHING, str(tmp_path)],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "found:"

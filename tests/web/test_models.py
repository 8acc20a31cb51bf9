"""Models through their routes, with real workers: made, watched, aborted, tested; and what a bad network may do to them."""

import html
import io
import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.logs import LONGEST_LOG_BYTES
from jobs.networks.starter import starter_network
from tests.conftest import until, wait_for_job
from tests.t7_writer import module, save_t7, tensor
from tests.web import payloads
from tests.web.conftest import Site

STARTER = starter_network((1, 28, 28))
LUA_STARTER = starter_network((1, 28, 28), "torch")
JSON = {"Accept": "application/json"}
LONG = {"train_epochs": "1000000", "snapshot_interval": "20", "val_interval": "0"}
HEAD = "import os, sys, time\nfrom torch import nn\n"


def network(model: str, rest: str = "loss=nn.MSELoss(), label_hook=lambda input, label: input") -> str:
    """A network of three lines and `network` on the fourth."""
    return f"{HEAD}model = {model}\ndef network(params): return dict(model=model, {rest})\n"


def misbehaving(statement: str, where: str = "self.training") -> str:
    """An autoencoder that does something of its own in its forward pass, from the third on: the check does two."""
    return f"""{HEAD}
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 784)
        self.passes = 0
    def forward(self, images):
        self.passes += 1
        if {where}:
            {statement}
        return self.layer(images.flatten(1)).view_as(images)

def network(params):
    return dict(model=Odd(), loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""


@pytest.fixture
def digit(site: Site) -> Path:
    return min(site.digits.rglob("*.png"))


def visualize(site: Site, text: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    return ask_about_network(site, "visualize-network", text, {"framework": "pytorch", **changes})


def show_python(site: Site, text: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    return ask_about_network(site, "show-python", text, {"framework": "torch", **changes})


def ask_about_network(site: Site, route: str, text: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    form = {"custom_network": text, "dataset": site.generic, **fields}
    answer = site.client.post(f"/models/{route}", data=form, headers=JSON)
    body: dict[str, Any] = answer.get_json()
    return answer.status_code, body


def infer(site: Site, job_id: str, **form: Any) -> tuple[int, dict[str, Any]]:
    answer = site.client.post("/models/images/generic/infer_one.json", data={"job_id": job_id, **form})
    body: dict[str, Any] = answer.get_json()
    return answer.status_code, body


def upload(content: bytes, name: str = "digit.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


# A model and what is told of it


@pytest.mark.parametrize(
    "line",
    [
        "import subprocess; subprocess.run(['true'])",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_a_network_that_is_refused_something_is_told_that_it_is_contained(site: Site, line: str) -> None:
    status, answer = visualize(site, f"{line}\n{STARTER}")
    assert status == 400
    assert "Networks are contained here" in answer["error"]["message"]
    assert answer["error"]["line"] == 1


def test_a_model_is_made_and_described_by_digits_keys(site: Site, trained: str) -> None:
    answer = site.client.get(f"/models/{trained}.json").get_json()
    assert answer["snapshots"] == [1, 2]
    assert answer["snapshot file"] == "snapshot_2.pt"
    assert answer["image dimensions"] == [28, 28, 1]
    assert answer["mean file"] == "mean.binaryproto"
    assert answer["dataset_id"] == site.generic
    assert answer["job id"] == trained
    status = site.client.get(f"/models/{trained}/status").get_json()
    assert (status["status"], status["name"], status["type"]) == ("Done", "trained", "Generic Image Model")
    page = site.client.get(f"/models/{trained}")
    assert page.status_code == 200
    assert "nn.Linear(784, 300)" in html.unescape(page.get_data(as_text=True))


def test_a_clone_has_every_setting(site: Site, trained: str) -> None:
    page = site.client.get(f"/clone/{trained}", follow_redirects=True).get_data(as_text=True)
    text = html.unescape(page)
    assert STARTER.strip() in text
    for value in ('value="trained"', 'value="0.001"', f'value="{site.generic}" selected'):
        assert value in text


# The framework


def chosen_tab(page: str) -> str:
    """The framework whose tab is chosen on a form, which must be the one that the form sends."""
    (tab,) = re.findall(r'id="framework-(\w+)"[^>]*aria-selected="true"', page)
    assert f'name="framework" value="{tab}"' in page
    return str(tab)


def test_a_network_in_lua_is_taken_and_shown_as_it_was_pasted(site: Site) -> None:
    text = "-- no Python: ~= ..\n" + LUA_STARTER
    job_id = site.done(site.make_model(framework="torch", custom_network=text, model_name="in Lua"))
    assert site.client.get(f"/models/{job_id}.json").get_json()["framework"] == "torch"
    assert site.client.get(f"/jobs/{job_id}/table_data.json").get_json()["job"]["framework"] == "torch"
    page = html.unescape(site.client.get(f"/models/{job_id}").get_data(as_text=True))
    assert "for Torch, in Lua" in page
    assert "<code>-- no Python: ~= ..</code>" in page
    clone = html.unescape(site.client.get(f"/clone/{job_id}", follow_redirects=True).get_data(as_text=True))
    assert chosen_tab(clone) == "torch"
    assert text in clone


def test_a_form_that_was_refused_opens_on_the_tab_that_it_was_sent_from(site: Site) -> None:
    form = payloads.model(site.generic, framework="torch", custom_network=LUA_STARTER, train_epochs="0")
    answer = site.client.post("/models/images/generic", data=form)
    assert answer.status_code == 400
    page = html.unescape(answer.get_data(as_text=True))
    assert chosen_tab(page) == "torch"
    assert LUA_STARTER in page


def test_a_form_that_was_refused_keeps_the_texts_of_all_its_tabs(site: Site) -> None:
    other = "# <mine>\nimport torch\n"
    form = payloads.model(
        site.generic, framework="torch", custom_network=LUA_STARTER, draft_pytorch=other, train_epochs="0"
    )
    page = site.client.post("/models/images/generic", data=form).get_data(as_text=True)
    assert f'<textarea name="draft_pytorch" hidden>\n{html.escape(other)}</textarea>' in page
    assert '<textarea name="draft_torch" hidden>\n</textarea>' in page


def test_the_starter_network_is_in_the_language_of_the_framework(site: Site) -> None:
    starters = [
        site.client.post("/models/starter-network", data={"dataset": site.generic, **choice}).get_json()["network"]
        for choice in ({}, {"framework": "pytorch"}, {"framework": "torch"})
    ]
    assert starters == [STARTER, STARTER, LUA_STARTER]
    form = site.client.get(f"/models/images/generic/new?framework=torch&dataset={site.generic}")
    page = html.unescape(form.get_data(as_text=True))
    assert chosen_tab(page) == "torch"
    assert LUA_STARTER in page


def test_an_unknown_framework_is_refused_in_words(site: Site) -> None:
    sentence = "There is no framework 'caffe'; a network is written for pytorch or torch."
    status, answer = visualize(site, STARTER, framework="caffe")
    assert status == 400
    assert answer["error"]["message"] == sentence
    starter = site.client.post("/models/starter-network", data={"framework": "caffe"}, headers=JSON)
    assert starter.status_code == 400
    assert starter.get_json()["error"]["message"] == sentence


def test_weights_by_either_name_stand_in_the_job(site: Site, tmp_path: Path) -> None:
    weights = tmp_path / "snapshot_3_Model.t7"
    weights.touch()
    for name in ("pretrained_model", "custom_network_snapshot"):
        job_id = site.make_model(framework="torch", custom_network=LUA_STARTER, **{name: str(weights)})
        assert site.folder(job_id).read_spec()["pretrained_model"] == str(weights)
        clone = site.client.get(f"/clone/{job_id}", follow_redirects=True).get_data(as_text=True)
        assert f'value="{weights}"' in html.unescape(clone)
        wait_for_job(site.client, job_id)


# The learning rate


@pytest.mark.parametrize("policy", ["fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid"])
def test_every_policy_has_its_curve(site: Site, policy: str) -> None:
    form = {"learning_rate": "0.5", "lr_policy": policy}
    (curve,) = site.client.post("/models/visualize-lr", data=form).get_json()["data"]["columns"]
    assert curve[0] == "Learning Rate 0"
    assert len(curve) == 102
    assert 0 < curve[1] <= 0.5
    assert (curve[-1] < curve[1]) == (policy != "fixed")


def test_a_policy_that_outgrows_every_number_is_strict_json(site: Site) -> None:
    answer = site.client.post("/models/visualize-lr", data={"lr_policy": "exp", "lr_exp_gamma": "1e300"})
    assert b"Infinity" not in answer.data
    assert answer.get_json()["data"]["columns"][0][-1] is None
    bad = site.client.post("/models/visualize-lr", data={"lr_policy": "step", "lr_step_size": "0"})
    assert bad.status_code == 400
    assert "more than 0" in bad.get_json()["errors"]["lr_step_size"][0]


# The check of a network


def test_visualize_tells_every_layer(site: Site) -> None:
    status, answer = visualize(site, STARTER)
    assert status == 200
    assert answer["parameters"] == 501_834
    assert [layer["name"] for layer in answer["layers"]][2] == "nn.Linear(784 → 300)"


@pytest.mark.parametrize(("text", "line", "sentence"), [
    (f"{HEAD}def network(params)\n    return 1", 3, "expected ':'"),
    (f"{HEAD}model = nn.Linear(2, 2)", None, "defines no function `network`"),
    (f"{HEAD}def network(params):\n    return dict(loss=nn.MSELoss())", None, "returns no model"),
    (network("nn.Sequential(nn.Flatten(), nn.Linear(700, 10))"), 3, "nn.Linear(700 → 10) on line 3 got 784 values"),
    (network("nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"), None, "The output has shape 10 for one image"),
    (f"{HEAD}os._exit(0)", None, "ended by itself with status 0"),
    (f"{HEAD}class Odd(BaseException): pass\nraise Odd", None, "ended by itself with status 1"),
])  # fmt: skip
def test_visualize_says_what_is_wrong_and_where(site: Site, text: str, line: int | None, sentence: str) -> None:
    status, answer = visualize(site, text)
    assert status == 400
    assert sentence in answer["error"]["message"]
    assert (answer["error"]["type"], answer["error"]["line"]) == ("BadNetwork", line)


def test_visualize_shows_a_network_in_lua_as_torch_prints_it(site: Site) -> None:
    status, answer = visualize(site, LUA_STARTER, framework="torch")
    assert status == 200
    assert answer["printed"].startswith("nn.Sequential {\n  [input -> (1) -> (2)")
    assert "(3): nn.Linear(784 -> 300)" in answer["printed"]
    assert [layer["line"] for layer in answer["layers"]] == list(range(2, 12))
    assert visualize(site, STARTER)[1]["printed"] is None


@pytest.mark.parametrize(("found", "wrong", "line", "sentence"), [
    ("nn.Linear(50, 300)", "nn.Linear(51, 300)", 8, "it takes 51"),
    ("nn.Linear(50, 300)", "nn.Lineal(50, 300)", 8, "Lineal"),
    ("nn.MSECriterion(),", "nn.MSECriterion()", 17, "'}' expected"),
    ("return function", "local unused = function", None, "The text must return a function"),
])  # fmt: skip
def test_visualize_says_what_is_wrong_in_lua_and_where(
    site: Site, found: str, wrong: str, line: int | None, sentence: str
) -> None:
    status, answer = visualize(site, LUA_STARTER.replace(found, wrong), framework="torch")
    assert status == 400
    assert sentence in answer["error"]["message"]
    assert (answer["error"]["type"], answer["error"]["line"]) == ("BadNetwork", line)


def test_a_network_that_loops_for_ever_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.predictions.CHECK_SECONDS", 0.5)
    monkeypatch.setattr("jobs.predictions.CHECK_GRACE_SECONDS", 200.0)
    status, answer = visualize(site, f"{HEAD}while True:\n    try: time.sleep(1)\n    except Exception: pass")
    assert status == 400
    assert "not ready after 0.5 seconds, the longest that a check may take." in answer["error"]["message"]


@pytest.mark.parametrize("loop", ["while true do end", "while true do pcall(function() while true do end end) end"])
def test_lua_that_loops_for_ever_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    monkeypatch.setattr("jobs.predictions.CHECK_SECONDS", 0.5)
    monkeypatch.setattr("jobs.predictions.CHECK_GRACE_SECONDS", 200.0)
    status, answer = visualize(site, loop, framework="torch")
    assert status == 400
    assert "not ready after 0.5 seconds, the longest that a check may take." in answer["error"]["message"]


@pytest.mark.parametrize(("framework", "loop"), [
    ("torch", "while true do end"),
    ("pytorch", "import time\nwhile True: time.sleep(0.01)"),
])  # fmt: skip
def test_who_has_waited_long_enough_ends_the_check(
    site: Site, framework: str, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[tuple[int, dict[str, Any]]] = []
    name = f"of {framework}"
    waiting = threading.Thread(
        target=lambda: answers.append(visualize(site, loop, framework=framework, check=name)), daemon=True
    )
    waiting.start()
    until(lambda: site.services.checks.knows(name), 60, "the check is at work")
    ending = {"check": name}
    assert site.client.post("/models/end-check", data=ending).get_json() == {"ended": True}
    waiting.join(60)
    ((status, answer),) = answers
    assert status == 400
    assert "ended before the network was tried" in answer["error"]["message"]
    assert site.client.post("/models/end-check", data=ending).get_json() == {"ended": False}
    assert not caplog.records, "nothing went wrong"
    assert visualize(site, STARTER)[0] == 200


def test_nobody_ends_a_check_without_a_name(site: Site) -> None:
    assert site.client.post("/models/end-check").get_json() == {"ended": False}


def test_visualize_tries_the_pretrained_weights_too(site: Site, tmp_path: Path) -> None:
    sizes = ((784, 300), (300, 50), (50, 300), (300, 784))
    layers = [
        module("nn.Linear", weight=tensor(np.zeros((outs, ins))), bias=tensor(np.zeros(outs))) for ins, outs in sizes
    ]
    fits = save_t7(tmp_path / "fits.t7", module("nn.Sequential", modules=layers))
    status, answer = visualize(site, LUA_STARTER, framework="torch", pretrained_model=str(fits))
    assert status == 200
    assert answer["weights"] == ["fits.t7: the weights of 4 layers were taken, 501,834 values."]
    assert visualize(site, LUA_STARTER, framework="torch", pretrained_model="")[1]["weights"] == []
    other = save_t7(tmp_path / "other.t7", module("nn.Sequential", modules=layers[1:]))
    status, answer = visualize(site, LUA_STARTER, framework="torch", custom_network_snapshot=str(other))
    assert status == 400
    assert "other.t7 does not fit this network: nn.Linear(784 -> 300)" in answer["error"]["message"]


@pytest.mark.parametrize(("framework", "name", "sentence"), [
    ("torch", "none.t7", "Pretrained weights: File does not exist"),
    ("torch", "/etc/passwd", "Pretrained weights: This path lies outside the folders"),
    ("pytorch", "none.t7", "Pretrained weights: Weights of a .t7 file are for a network in Lua"),
])  # fmt: skip
def test_visualize_refuses_weights_as_create_does(
    site: Site, tmp_path: Path, framework: str, name: str, sentence: str
) -> None:
    status, answer = visualize(site, LUA_STARTER, framework=framework, pretrained_model=str(tmp_path / name))
    assert status == 400
    assert answer["error"]["message"].startswith(sentence)


def test_what_a_network_prints_does_not_mix_with_the_answer(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    shout = 'for _ in range(300): print("x" * 100_000)\nos.write(1, b\'{"error": 1}\\n\\xff\')\nprint(input)'
    status, answer = visualize(site, STARTER.replace("\n", f"\nimport os, sys\n{shout}\n", 1))
    assert status == 200
    assert answer["parameters"] == 501_834
    assert "xxx" not in "".join(capfd.readouterr()), "the server's log is not the place"


def test_visualize_wants_a_dataset_and_a_crop_that_fit(site: Site) -> None:
    status, answer = visualize(site, STARTER, dataset=site.classification)
    assert status == 400
    assert "no generic dataset" in answer["error"]["message"]
    for crop in ("-3", "29", "half"):
        status, answer = visualize(site, STARTER, crop_size=crop)
        assert status == 400
        assert "crop size" in answer["error"]["message"]


def test_a_network_in_lua_is_shown_in_python_that_works(site: Site) -> None:
    status, answer = show_python(site, LUA_STARTER)
    assert status == 200
    assert (answer["is_same"], answer["notes"]) == (True, [])
    status, checked = visualize(site, answer["python"])
    assert status == 200
    assert checked["parameters"] == 501_834
    (note,) = show_python(site, LUA_STARTER, solver_type="ADAM")[1]["notes"]
    assert "ADAM" in note["text"]


def test_only_lua_that_can_be_tried_is_shown_as_python(site: Site) -> None:
    status, answer = show_python(site, LUA_STARTER.replace("nn.Linear(50, 300)", "nn.Linear(51, 300)"))
    assert (status, answer["error"]["type"], answer["error"]["line"]) == (400, "BadNetwork", 8)
    assert "it takes 51" in answer["error"]["message"]
    status, answer = show_python(site, STARTER, framework="pytorch")
    assert status == 400
    assert "Only a network in Lua" in answer["error"]["message"]
    status, answer = show_python(site, LUA_STARTER, dataset=site.classification)
    assert status == 400
    assert "no generic dataset" in answer["error"]["message"]


# Training


def test_a_network_with_a_shape_error_ends_its_job_at_the_line(site: Site) -> None:
    job_id = site.make_model(custom_network=network("nn.Sequential(nn.Flatten(), nn.Linear(700, 10))"))
    assert "nn.Linear(700 → 10) on line 3 got 784 values an image, it takes 700." in site.cause_on_page(job_id)
    page = site.client.get(f"/models/{job_id}").get_data(as_text=True)
    assert '<li id="line-3" class="bad-line">' in page


def test_a_loss_that_explodes_advises_a_smaller_learning_rate(site: Site) -> None:
    job_id = site.make_model(learning_rate="100000", lr_policy="fixed", train_epochs="20")
    cause = site.cause_on_page(job_id)
    assert "for training loss. Try decreasing your learning rate." in cause
    row = site.client.get(f"/jobs/{job_id}/table_data.json").get_json()["job"]
    assert f"Network reported {row['loss (train) last']} for" in cause
    told, drawn = site.events(job_id, "progress")[-1], site.events(job_id, "train")[-1]
    assert told["epoch"] == drawn["epoch"][-1]
    assert row["progress"] == round(100 * told["fraction"], 1)
    assert site.client.get(f"/jobs/{job_id}/events").get_json()["events"], "strict JSON, in spite of NaN"


def test_what_a_network_writes_among_its_events_reaches_its_page_as_strict_json(site: Site) -> None:
    lines = '{"type":"usage","cpu_percent":1e999}\n{"type":"progress","fraction":NaN}\n{"type":"train","step":[-Infinity]}\n'
    job_id = site.done(site.make_model(custom_network=misbehaving(f"open('events.jsonl', 'a').write({lines!r})")))

    def refuse(number: str) -> None:
        raise AssertionError(f"{number} is no JSON")

    for url in (
        f"/jobs/{job_id}/events",
        f"/models/{job_id}/curve.json",
        f"/models/{job_id}.json",
        "/completed_jobs.json",
    ):
        text = site.client.get(url).get_data(as_text=True)
        read = json.loads(text, parse_constant=refuse)
        if url.endswith("events"):
            assert {"type": "usage", "cpu_percent": "infinity"} in read["events"]


@pytest.mark.parametrize(("statement", "sentence"), [
    ("os._exit(3)", "ended by itself with status 3"),
    ("sys.exit(3)", "The network ends the program on line 12"),
    ("os.kill(os.getpid(), 11)", "Crashed (SIGSEGV)"),
])  # fmt: skip
def test_a_network_that_ends_its_training_is_an_error_in_words(site: Site, statement: str, sentence: str) -> None:
    job_id = site.make_model(custom_network=misbehaving(statement, "self.passes > 2"), batch_size="10")
    assert sentence in site.cause_on_page(job_id)


def test_a_network_that_prints_a_lot_trains_and_its_log_comes_in_pages(site: Site) -> None:
    shout = 'print("é" * 2_000_000); os.write(1, b"\\xff\\xfe\\0" * 1000)'
    job_id = site.done(site.make_model(custom_network=misbehaving(shout, "self.passes == 3"), learning_rate="1e-9"))
    tail = site.client.get(f"/jobs/{job_id}/log").get_json()
    assert tail["size"] > 4_000_000
    assert len(tail["text"]) <= 100_000
    first = site.client.get(f"/jobs/{job_id}/log?since=0").get_json()
    assert first["next"] == 100_000
    assert site.client.get(f"/models/{job_id}").status_code == 200


def test_a_network_that_prints_a_gigabyte_fills_no_disk(site: Site) -> None:
    # What is said in the very moment of a cut is lost: its last words come when the last cut is over.
    is_cut = f"os.fstat(1).st_size <= {LONGEST_LOG_BYTES}"
    flood = '[print("x" * 999_999, flush=True) for _ in range(1000)]'
    shout = f'import os, time; {flood}; [time.sleep(0.01) for _ in iter(lambda: {is_cut}, True)]; print("It said all.")'
    job_id = site.done(
        site.make_model(custom_network=misbehaving(shout, "self.passes == 3"), learning_rate="1e-9"), 280
    )
    log = site.folder(job_id).log
    assert log.stat().st_size <= LONGEST_LOG_BYTES
    text = log.read_text()
    assert text.startswith("Random seed:")
    assert "It said all." in text[-100_000:]


def test_a_training_that_hears_nothing_is_ended_by_force(
    site: Site, digit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.scheduling.workers.STOP_GRACE_SECONDS", 0.3)
    loop = 'print("stuck", flush=True)\n            while True: pass'
    job_id = site.make_model(custom_network=misbehaving(loop, "self.passes > 2"))
    until(lambda: "stuck" in site.client.get(f"/jobs/{job_id}/log").get_json()["text"], 60, "it loops")
    assert site.client.post(f"/models/{job_id}/abort").get_data(as_text=True) == "Job aborted."
    status = wait_for_job(site.client, job_id)
    assert status["status"] == "Aborted"
    assert "ended by force" in status["cause"]
    answer = infer(site, job_id, image_path=str(digit))[1]
    assert "no snapshot yet" in answer["error"]["message"]


def test_test_one_works_while_the_model_trains_and_after_an_abort(
    site: Site, digit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.scheduling.workers.STOP_GRACE_SECONDS", 120.0)
    job_id = site.make_model(**LONG, learning_rate="0.0001")
    epoch = site.until_event(job_id, "snapshot")["epoch"]
    status, answer = infer(site, job_id, snapshot_epoch=epoch, image_file=upload(digit.read_bytes()))
    assert status == 200, answer
    assert site.client.get(f"/jobs/{job_id}/status").get_json()["status"] == "Running"
    assert site.client.delete(f"/models/{job_id}").status_code == 403, "it runs"
    site.client.post(f"/models/{job_id}/abort")
    ended = wait_for_job(site.client, job_id)
    assert (ended["status"], ended["cause"]) == ("Aborted", None)
    assert site.half_files(job_id) == []
    last = site.client.get(f"/models/{job_id}.json").get_json()["snapshots"][-1]
    assert last >= epoch
    assert infer(site, job_id, snapshot_epoch=last, image_path=str(digit))[0] == 200


# Test One


def test_infer_one_answers_in_the_shape_of_digits(site: Site, trained: str, digit: Path) -> None:
    status, answer = infer(site, trained, image_path=str(digit), snapshot_epoch="2")
    assert status == 200
    ((channel,),) = answer["outputs"]["output"]
    assert (len(channel), len(channel[0])) == (28, 28)
    assert answer["error_of_reconstruction"]["mse"] > 0
    assert answer["layers"] == []


def test_infer_one_draws_the_page_with_every_layer(site: Site, trained: str, digit: Path) -> None:
    form = {"job_id": trained, "image_file": upload(digit.read_bytes(), "<b>my</b> 😀.png"), "show_visualizations": "1"}
    page = site.client.post("/models/images/generic/infer_one", data=form)
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    assert "<b>my</b>" not in text
    _, _, embedded = text.partition('data-role="prediction">')
    prediction = json.loads(embedded.partition("</script>")[0])
    titles = [picture["title"] for picture in prediction["pictures"]]
    assert titles == ["Original", "Normalized", "Compressed representation", "Reconstruction", "Error"]
    assert {row["index"] for row in prediction["layers"]} == set(range(10))
    assert prediction["total_parameters"] == 501_834
    assert list(site.services.settings.uploads_dir.iterdir()) == []


@pytest.mark.parametrize(("form", "sentence"), [
    ({"image_file": b"This is a text."}, "The file is no picture of a kind that can be read"),
    ({"image_file": b""}, "The file is no picture of a kind that can be read"),
    ({"image_file": b"\x89PNG\r\n\x1a\n"}, "picture"),
    ({}, "upload a picture or name one on the server"),
    ({"image_path": "/etc/passwd"}, "lies outside the folders"),
    ({"image_path": "{root}/../../../../etc/passwd"}, "lies outside the folders"),
    ({"image_path": "digit.png"}, "lies outside the folders"),
    ({"image_path": "{root}/none.png"}, "File does not exist"),
    ({"image_path": "{root}"}, "File does not exist"),
    ({"image_path": "{root}/" + 300 * "long"}, "cannot be read: File name too long"),
    ({"image_path": "{root}/\0"}, "lies outside the folders"),
    ({"image_path": "{digit}", "snapshot_epoch": "7"}, "epoch=7. There are snapshots of: 1, 2."),
    ({"image_path": "{digit}", "snapshot_epoch": "last"}, "no number"),
    ({"image_path": "{digit}", "snapshot_epoch": "inf"}, "There are snapshots of: 1, 2."),
    ({"image_path": "{digit}", "colormap": "pink"}, "no colormap 'pink'"),
])  # fmt: skip
def test_a_bad_test_gets_a_sentence(site: Site, trained: str, digit: Path, form: dict[str, Any], sentence: str) -> None:
    def filled() -> dict[str, Any]:
        places = {"{root}": str(site.digits), "{digit}": str(digit)}
        given: dict[str, Any] = {}
        for name, value in form.items():
            given[name] = upload(value) if isinstance(value, bytes) else value
            for place, path in places.items():
                given[name] = given[name].replace(place, path) if isinstance(given[name], str) else given[name]
        return given

    status, answer = infer(site, trained, **filled())
    assert status == 400
    assert sentence in answer["error"]["message"]
    page = site.client.post("/models/images/generic/infer_one", data={"job_id": trained, **filled()})
    assert page.status_code == 400
    assert sentence in html.unescape(page.get_data(as_text=True))
    assert list(site.services.settings.uploads_dir.iterdir()) == []


def test_odd_pictures_are_tested_like_any_other(site: Site, trained: str) -> None:
    colour = Image.new("RGB", (50, 40), "red")
    odd = {"PNG": [Image.new("L", (1, 1)), Image.new("I;16", (30, 30)), colour.convert("P"), colour.convert("RGBA")],
           "JPEG": [colour.convert("CMYK")], "GIF": [colour]}  # fmt: skip
    for kind, images in odd.items():
        for image in images:
            content = io.BytesIO()
            image.save(content, kind)
            status, answer = infer(site, trained, image_file=upload(content.getvalue()))
            assert status == 200, (kind, image.mode, answer)


def test_a_predictor_killed_between_two_tests_is_started_again(site: Site, trained: str, digit: Path) -> None:
    assert infer(site, trained, image_path=str(digit))[0] == 200
    warm = site.services.predictions._warm[trained].process._process
    os.killpg(warm.pid, signal.SIGKILL)
    warm.wait()
    assert infer(site, trained, image_path=str(digit))[0] == 200


def test_a_damaged_snapshot_is_named_and_the_others_still_work(site: Site, trained: str, digit: Path) -> None:
    damaged = site.folder(trained).snapshot(9)
    damaged.write_bytes(b"This is a text.")
    status, answer = infer(site, trained, image_path=str(digit), snapshot_epoch="9")
    damaged.unlink()
    assert status == 400
    assert "The snapshot of epoch 9 cannot be read" in answer["error"]["message"]
    assert infer(site, trained, image_path=str(digit), snapshot_epoch="1")[0] == 200


def test_a_network_that_misbehaves_in_test_one_breaks_its_own_test_only(
    site: Site, trained: str, digit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where it may read.
    what = site.folder(site.generic).path / "what"
    text = misbehaving(f"exec(open({str(what)!r}).read())", "not self.training")
    what.write_text("pass")
    job_id = site.done(site.make_model(custom_network=text, learning_rate="1e-9", val_interval="0", train_epochs="1"))

    def tested(statement: str) -> tuple[int, str]:
        what.write_text(statement)
        status, answer = infer(site, job_id, image_path=str(digit))
        return status, str(answer.get("error", {}).get("message"))

    assert tested("print('x' * 10_000_000); os.write(1, b'{} \\xff\\n')")[0] == 200
    status, said = tested("raise ValueError('no')")
    assert status == 400
    assert "The network failed on line" in said
    status, said = tested("os._exit(0)")
    assert status == 400
    assert "ended by itself with status 0" in said
    with monkeypatch.context() as patient:
        patient.setattr("jobs.predictions.ANSWER_SECONDS", 2.0)
        status, said = tested("while True: pass")
    assert status == 500
    assert "no answer within 2 s" in said
    assert tested("pass")[0] == 200
    what.unlink()
    assert infer(site, trained, image_path=str(digit))[0] == 200


def test_the_page_says_what_protected_from_the_network(site: Site, trained: str) -> None:
    containment = site.client.get(f"/models/{trained}.json").get_json()["containment"]
    assert containment["title"] == "Contained"
    page = html.unescape(site.client.get(f"/models/{trained}").get_data(as_text=True))
    for protection in containment["protections"]:
        assert f"<strong>{protection['name']}</strong> {protection['text']}" in page
    names = {protection["name"] for protection in containment["protections"] if protection["in_force"]}
    assert names >= {"files", "network", "processes", "signals", "kernel", "memory"}


def test_a_log_that_was_cut_is_read_on_from_its_end(site: Site, trained: str) -> None:
    log = site.folder(trained).log
    size = log.stat().st_size
    answer = site.client.get(f"/jobs/{trained}/log?since={size + 1000}").get_json()
    assert (answer["next"], answer["size"]) == (size, size)
    assert answer["text"].encode() == log.read_bytes()[-100_000:]

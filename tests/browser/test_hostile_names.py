"""Names, messages and events that are HTML and scripts: every page shows them as the text that they are."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from jobs.folder import JobFolder
from tests.browser.conftest import make_dataset, make_generic, post
from tests.conftest import RunningServer, save_digits

# Out of an attribute by either quote, and into the braces of what makes pages of templates. No name of a module has a dot.
EVIL = "\"'><img src=x onerror=hacked=1><svg onload=hacked=1>{{700007*3}}"
ENDS_A_SCRIPT = f"</script><script>window.hacked=1</script>{EVIL}"
WHAT_HTML_WOULD_MAKE = (
    'img[src="x"], svg[onload], [onerror], [onmouseover], script:not([src]):not([type="application/json"])'
)

NETWORK = f"""\
from collections import OrderedDict
from torch import nn

EVIL = {EVIL!r}
print({ENDS_A_SCRIPT!r})

class Hidden(nn.Linear):
    def extra_repr(self):
        return EVIL

Hidden.__name__ = Hidden.__qualname__ = EVIL

def network(params):
    layers = [("scale", Scale(1 / 256)), ("flat", nn.Flatten()), (EVIL, Hidden(784, 20)), (EVIL + "2", nn.ReLU()),
              ("out", nn.Linear(20, 784)), (EVIL + "3", nn.Unflatten(1, (1, 28, 28)))]
    return dict(model=nn.Sequential(OrderedDict(layers)), loss=nn.MSELoss(), train_batch_size=20,
                label_hook=lambda input, label: input)
"""
FAILS = f"def network(params):\n    raise ValueError({ENDS_A_SCRIPT!r})\n"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders whose names are no better. A folder's name has no stroke."""
    folder = save_digits(tmp_path_factory.mktemp("hostile") / "digits", 200)
    for label in folder.iterdir():
        label.rename(folder / f"{EVIL}{label.name}")
    return folder


@pytest.fixture(scope="module")
def dataset(shared: RunningServer, digits: Path) -> str:
    return make_dataset(shared, digits, ENDS_A_SCRIPT)


@pytest.fixture(scope="module")
def generic(shared: RunningServer, dataset: str) -> str:
    return make_generic(shared, dataset)


def make_model(server: RunningServer, dataset: str, network: str, status: str) -> str:
    fields: dict[str, str | int] = {"model_name": ENDS_A_SCRIPT, "dataset": dataset, "train_epochs": 2}
    job_id = post(server, "models/images/generic", fields | {"group_name": EVIL, "custom_network": network})
    ended = server.wait_for_job(job_id)
    assert ended["status"] == status, ended["cause"]
    return job_id


@pytest.fixture(scope="module")
def trained(shared: RunningServer, generic: str) -> str:
    return make_model(shared, generic, NETWORK, "Done")


def assert_is_text(page: Page) -> None:
    """Whether nothing of it was taken for HTML, and nothing ran."""
    assert page.evaluate("window.hacked") is None
    assert page.locator(WHAT_HTML_WOULD_MAKE).evaluate_all("all => all.map(one => one.outerHTML)") == []
    assert "2100021" not in page.locator("body").inner_text()


def test_names_of_layers_are_text(shared: RunningServer, generic: str, trained: str, digits: Path, page: Page) -> None:
    page.goto(f"{shared.url}/models/{trained}")
    expect(page.locator(".layer-table")).to_contain_text(EVIL)
    expect(page.locator('[data-role="frame"]')).to_be_visible()
    page.locator('[data-role="layer-fold"] summary').click()
    page.get_by_text("Log", exact=True).first.click()
    expect(page.locator('[data-mount="log"] [data-role="text"]')).to_contain_text(ENDS_A_SCRIPT)
    assert_is_text(page)
    page.get_by_label("Show visualizations and statistics").check()
    page.locator('[data-mount="test-one"] input[type="file"]').set_input_files(next(digits.rglob("*.png")))
    with page.expect_popup() as opened:
        page.locator('[data-mount="test-one"] [data-role="submit"]').click()
    test_one = opened.value
    expect(test_one.locator('[data-role="layer-rows"]')).to_contain_text(EVIL, timeout=60_000)
    assert_is_text(test_one)


def test_names_of_jobs_and_classes_are_text(
    shared: RunningServer, dataset: str, generic: str, trained: str, page: Page
) -> None:
    for path in (
        "/", f"/datasets/{dataset}", f"/datasets/{generic}", f"/datasets/explore?job_id={dataset}",
        f"/datasets/images/generic/new?from={dataset}", f"/models/images/generic/new?dataset={generic}",
        f"/models/images/generic/new?clone={trained}", f"/?filter={EVIL}", f"/jobs/{EVIL}", f"/login?next={EVIL}",
    ):  # fmt: skip
        page.goto(f"{shared.url}{path}")
        page.wait_for_load_state("networkidle")
        assert_is_text(page)
    page.goto(shared.url)
    expect(page.get_by_role("link", name=ENDS_A_SCRIPT).first).to_be_visible()
    page.goto(f"{shared.url}/datasets/explore?job_id={dataset}")
    expect(page.locator("main")).to_contain_text(EVIL)


def test_why_a_network_failed_is_text(shared: RunningServer, generic: str, page: Page) -> None:
    failed = make_model(shared, generic, FAILS, "Error")
    for path in (f"/models/{failed}", "/"):
        page.goto(f"{shared.url}{path}")
        expect(page.locator("main")).to_contain_text("<script>window.hacked=1</script>")
        assert_is_text(page)
    page.goto(f"{shared.url}/models/images/generic/new?clone={failed}")
    page.get_by_role("button", name="Visualize").click()
    expect(page.locator('[data-role="network-check"]')).to_contain_text("ValueError", timeout=60_000)
    assert_is_text(page)


def with_evil(value: Any, kept: tuple[str, ...]) -> Any:
    """The same, with every text in it replaced, but for what stands under the names `kept`."""
    if isinstance(value, dict):
        return {key: item if key in kept else with_evil(item, kept) for key, item in value.items()}
    if isinstance(value, list):
        return [with_evil(item, kept) for item in value]
    return ENDS_A_SCRIPT if isinstance(value, str) else value


def forge(folder: JobFolder) -> None:
    """Say again all that the job has said, and more, with HTML in every text; and so in its frames, whose pictures stay."""
    events = [json.loads(line) for line in folder.events.read_text().splitlines()]
    more = [
        {"type": "message", "level": "warning", "text": ""}, {"type": "waits", "reason": ""}, {"type": ""},
        {"type": "failed", "cause": "", "line": 10**6}, {"type": "progress", "fraction": 0.5, "phase": ""},
        {"type": "network", "layers": [], "printed": "", "device": "", "device_name": "", "framework": ""},
        {"type": "snapshot", "epoch": "", "epochs_done": "", "file": "", "step": ""}, {"type": "usage", "gpu": {"name": ""}},
        {"type": "begun_anew", "reason": ""}, {"type": "stopped", "cause": ""}, {"type": "frame", "frame": "", "file": ""},
    ]  # fmt: skip
    with folder.events.open("a") as file:
        for event in (*events, *({"time": events[-1]["time"], **event} for event in more)):
            file.write(json.dumps(with_evil(event, ("type",))) + "\n")
        file.write(ENDS_A_SCRIPT + "\n")
    with folder.log.open("a") as log:
        log.write(ENDS_A_SCRIPT)
    for frame in folder.frames.iterdir():
        shown = json.loads(gzip.decompress(frame.read_bytes()))
        frame.write_bytes(gzip.compress(json.dumps(with_evil(shown, ("png",))).encode()))


def test_what_a_network_forged_is_text(shared: RunningServer, generic: str, context: BrowserContext) -> None:
    # Of events that say nothing, the console may tell; of one that the policy had to stop, it must not.
    page, stopped, broken = context.new_page(), [], []
    page.on("console", lambda message: stopped.append(message.text) if "Content Security" in message.text else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    model = make_model(shared, generic, NETWORK, "Done")
    forge(JobFolder(shared.data_dir / "jobs" / model))
    page.goto(f"{shared.url}/models/{model}")
    expect(page.locator('[data-role="message-list"]')).to_contain_text(ENDS_A_SCRIPT)
    expect(page.locator('[data-role="layer-view"]')).to_contain_text(ENDS_A_SCRIPT)
    expect(page.locator('[data-role="frame"]')).to_contain_text(ENDS_A_SCRIPT)
    expect(page.locator('[data-mount="log"] [data-role="text"]')).to_contain_text(ENDS_A_SCRIPT)
    assert_is_text(page)
    assert (stopped, broken) == ([], [])
    for path in (
        f"/models/{model}.json",
        f"/jobs/{model}/events",
        f"/models/{model}/frames/1.json",
        f"/jobs/{model}/log",
    ):
        answer = page.goto(f"{shared.url}{path}")
        assert answer is not None
        assert answer.headers["content-type"] == "application/json"
        assert_is_text(page)

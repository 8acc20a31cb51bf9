"""The steps of the seed, as a person takes them in a browser."""

import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer

PYTHON = """\
from torch import nn

autoencoder = nn.Sequential(
    Scale(1 / 256), nn.Flatten(),
    nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, 784), nn.Unflatten(1, (1, 28, 28)))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)   # the target is the input
"""

LUA = """\
local autoencoder = nn.Sequential()
autoencoder:add(nn.MulConstant(0.00390625))
autoencoder:add(nn.View(-1):setNumInputDims(3))
autoencoder:add(nn.Linear(784,300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300,50))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(50,300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300,784))
autoencoder:add(nn.View(1,28,28):setNumInputDims(1))

function targetIsInput(input, label)
    return input
end

return function(params)
    return {
        model = autoencoder,
        loss = nn.MSECriterion(),
        trainBatchSize = 64,
        validationBatchSize = 100,
        labelHook = targetIsInput,
    }
end
"""


@dataclass(frozen=True)
class Language:
    """The seed's network as a person pastes it, and what the pages then call its layers."""

    tab: str
    text: str
    linear: str  # of two sizes

    def layer(self, inputs: int, outputs: int) -> str:
        return self.linear.format(inputs, outputs)


LANGUAGES = (Language("PyTorch", PYTHON, "nn.Linear({} → {})"), Language("Torch", LUA, "nn.Linear({} -> {})"))


def wait_for_done(page: Page, seconds: float = 180) -> None:
    expect(page.locator('[data-role="status"][data-status="Done"]').first).to_be_visible(timeout=seconds * 1000)


def fill_classification_form(page: Page, server: RunningServer, folder: Path) -> None:
    page.goto(server.url)
    page.get_by_text("New dataset", exact=True).click()
    page.get_by_role("link", name="Classification").first.click()
    page.get_by_label("Image type").select_option("1")
    page.get_by_label("Width").fill("28")
    page.get_by_label("Height").fill("28")
    page.locator("#folder_train").fill(str(folder))
    page.locator("#dataset_name").fill("MNIST")


def make_classification_dataset(page: Page, server: RunningServer, folder: Path) -> str:
    fill_classification_form(page, server, folder)
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/datasets/2*")
    wait_for_done(page)
    return page.url.rsplit("/", 1)[1]


def make_generic_dataset(page: Page, validation: bool = True) -> None:
    """Through the button of the dataset's page. The original walk leaves the validation images blank."""
    page.get_by_role("link", name="Make a generic dataset from this").click()
    expect(page.locator("#prebuilt_train_images")).to_have_value(re.compile("/train_db$"))
    expect(page.locator("#prebuilt_mean_file")).to_have_value(re.compile("/mean.binaryproto$"))
    if not validation:
        page.locator("#prebuilt_val_images").fill("")
    page.locator("#dataset_name").fill("MNIST for the autoencoder")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/datasets/2*")
    wait_for_done(page)


def paste_network(page: Page, text: str) -> None:
    """As a person does it: copied elsewhere, everything in the editor selected, pasted."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    # The suggested network of a tab that was just chosen comes by itself, and is not to come later.
    expect(page.locator("#custom_network")).not_to_have_value("")
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")


def fill_model_form(page: Page, language: Language, **fields: str) -> None:
    """Paste the seed's network and look at its layers. `fields` are typed where they are given."""
    page.get_by_text("New model", exact=True).click()
    page.get_by_role("link", name="Other").last.click()
    for name, value in {"model_name": "Autoencoder", **fields}.items():
        page.locator(f"#{name}").fill(value)
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    page.get_by_role("tab", name=language.tab, exact=True).click()
    paste_network(page, language.text)
    page.get_by_role("button", name="Visualize").click()
    check = page.locator('[data-role="network-check"]')
    expect(check).to_contain_text("501,834", timeout=60_000)
    expect(check).to_contain_text(language.layer(784, 300))


def create_model(page: Page, language: Language, **fields: str) -> str:
    """The seed's network as a job; its id."""
    fill_model_form(page, language, **fields)
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/models/2*")
    return page.url.rsplit("/", 1)[1]


def press_test_one(page: Page, digit: Path) -> Page:
    """Upload a digit, tick the box, press the button; the page that opens."""
    page.locator("#image_file").set_input_files(digit)
    page.get_by_label("Show visualizations and statistics").check()
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Test One").click()
    return opened.value


def check_prediction(page: Page, language: Language, digit: Path) -> None:
    expect(page.locator("[data-picture]")).to_have_count(5, timeout=60_000)
    assert page.locator("[data-picture]").evaluate_all("all => all.map(one => one.dataset.picture)") == [
        "original", "normalized", "code", "output", "error"]  # fmt: skip
    original = np.asarray(Image.open(digit), dtype=np.float64)
    assert np.array_equal(picture(page, "original"), original)
    normalized, output = picture(page, "normalized"), picture(page, "output")
    assert normalized.min() < 0 < normalized.max(), "the mean is subtracted"
    correlation = np.corrcoef(normalized.ravel(), output.ravel())[0, 1]
    assert correlation > 0.8
    shown = float(page.locator('[data-role="correlation"]').inner_text())
    assert shown == pytest.approx(correlation, abs=0.01)
    code = picture(page, "code")
    assert np.count_nonzero(~np.isnan(code)) == 50
    expect(page.locator('[data-role="total-parameters"]')).to_have_text("501,834")
    rows = page.locator("table.layer-statistics tbody tr")
    expect(rows.filter(has_text=language.layer(300, 50)).first).to_contain_text("Compressed representation")


def picture(page: Page, key: str) -> NDArray[np.float64]:
    """The values of one of the pictures, as they are shown on hover; NaN where a mosaic has none."""
    text = page.locator(f'[data-picture="{key}"] [data-values]').get_attribute("data-values")
    return np.array(json.loads(text or "[]"), dtype=np.float64)


def points(page: Page) -> int:
    return int(page.locator("[data-points]").first.get_attribute("data-points") or 0)


def curve_as_table(page: Page, epochs: int) -> list[str]:
    """The chart's own table: a row for each epoch, as a person reads it."""
    table = page.locator('[data-role="as-table"]')
    if table.get_attribute("open") is None:
        table.locator("summary").click()
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(epochs)
    return rows.all_text_contents()


def told(server: RunningServer, job_id: str, kind: str) -> list[dict[str, Any]]:
    """The events of a kind, from the server itself."""
    events, since, more = [], 0, True
    while more:
        answer = requests.get(f"{server.url}/jobs/{job_id}/events?since={since}", timeout=60).json()
        events += answer["events"]
        since, more = answer["next"], answer["more"]
    return [event for event in events if event["type"] == kind]


def epoch_means(server: RunningServer, job_id: str, *epochs: int) -> dict[int, float]:
    """The mean training loss of each of these epochs."""
    points = [
        (epoch, loss)
        for event in told(server, job_id, "train")
        for epoch, loss in zip(event["epoch"], event["loss"], strict=True)
    ]
    return {last: statistics.fmean(loss for at, loss in points if last - 1 < at <= last) for last in epochs}


def train_losses(server: RunningServer, job_id: str) -> list[float]:
    return [loss for event in told(server, job_id, "train") for loss in event["loss"]]

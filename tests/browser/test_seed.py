"""The seed, whole, as a person does it: from a folder of images to a reconstructed digit."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import PictureKeeper
from tests.conftest import RunningServer, save_digits, until

EPOCHS = 30
NETWORK = """\
from torch import nn

autoencoder = nn.Sequential(
    Scale(1 / 256), nn.Flatten(),
    nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, 784), nn.Unflatten(1, (1, 28, 28)))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)   # the target is the input
"""


@pytest.fixture(scope="module")
def training_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("training"), 1400)


@pytest.fixture(scope="module")
def unseen_digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A digit that is in no dataset: the last that scikit-learn has."""
    folder = save_digits(tmp_path_factory.mktemp("all"), 1797)
    return max(folder.rglob("*.png"), key=lambda path: path.name)


def make_classification_dataset(page: Page, server: RunningServer, folder: Path) -> str:
    page.goto(server.url)
    page.get_by_text("New dataset", exact=True).click()
    page.get_by_role("link", name="Classification").first.click()
    page.get_by_label("Image type").select_option("1")
    page.get_by_label("Width").fill("28")
    page.get_by_label("Height").fill("28")
    page.locator("#folder_train").fill(str(folder))
    page.locator("#dataset_name").fill("MNIST")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/datasets/2*")
    expect(page.locator('[data-status="Done"]').first).to_be_visible(timeout=60_000)
    return page.url.rsplit("/", 1)[1]


def make_generic_dataset(page: Page) -> None:
    page.get_by_role("link", name="Make a generic dataset from this").click()
    expect(page.locator("#prebuilt_train_images")).to_have_value(re.compile("/train_db$"))
    expect(page.locator("#prebuilt_mean_file")).to_have_value(re.compile("/mean.binaryproto$"))
    page.locator("#dataset_name").fill("MNIST for the autoencoder")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/datasets/2*")
    expect(page.locator('[data-status="Done"]').first).to_be_visible(timeout=60_000)


def paste_network(page: Page, text: str) -> None:
    """As a person does it: copied elsewhere, everything in the editor selected, pasted."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")


def points(page: Page) -> int:
    return int(page.locator("[data-points]").first.get_attribute("data-points") or 0)


def picture(page: Page, key: str) -> NDArray[np.float64]:
    """The values of one of the pictures, as they are shown on hover; NaN where a mosaic has none."""
    text = page.locator(f'[data-picture="{key}"] [data-values]').get_attribute("data-values")
    return np.array(json.loads(text or "[]"), dtype=np.float64)


def curve_as_table(page: Page, epochs: int) -> list[str]:
    """The chart's own table: a row for each epoch, as a person reads it."""
    table = page.locator('[data-role="as-table"]')
    if table.get_attribute("open") is None:
        table.locator("summary").click()
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(epochs)
    return rows.all_inner_texts()


def told(server: RunningServer, job_id: str, kind: str) -> list[dict[str, Any]]:
    """The events of a kind, from the server itself."""
    events, since, more = [], 0, True
    while more:
        answer = requests.get(f"{server.url}/jobs/{job_id}/events?since={since}", timeout=10).json()
        events += answer["events"]
        since, more = answer["next"], answer["more"]
    return [event for event in events if event["type"] == kind]


def train_losses(server: RunningServer, job_id: str) -> list[float]:
    return [loss for event in told(server, job_id, "train") for loss in event["loss"]]


def wait_for_done(page: Page) -> None:
    expect(page.locator('[data-status="Done"]').first).to_be_visible(timeout=180_000)


def create_model(page: Page, epochs: int) -> str:
    page.get_by_text("New model", exact=True).click()
    page.get_by_role("link", name="Other").last.click()
    page.locator("#model_name").fill("Autoencoder")
    page.locator("#train_epochs").fill(str(epochs))
    page.locator("#random_seed").fill("1")
    page.locator("#batch_size").fill("10")
    paste_network(page, NETWORK)
    page.get_by_role("button", name="Visualize").click()
    check = page.locator('[data-role="network-check"]')
    expect(check).to_contain_text("501,834", timeout=60_000)
    expect(check).to_contain_text("nn.Linear(784 → 300)")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/models/2*")
    return page.url.rsplit("/", 1)[1]


def test_the_seed_from_folder_to_reconstruction(
    server: RunningServer, context: BrowserContext, page: Page, training_digits: Path, unseen_digit: Path,
    keep_picture: PictureKeeper,
) -> None:  # fmt: skip
    make_classification_dataset(page, server, training_digits)
    keep_picture(page, "dataset")
    make_generic_dataset(page)
    job_id = create_model(page, EPOCHS)

    # In mid-training: a reload, a second tab and a cut connection.
    until(lambda: points(page) > 5, 60, "the curve moves", wait=page.wait_for_timeout)
    page.reload()
    second = context.new_page()
    second.goto(page.url)
    until(lambda: points(page) > 5 and points(second) > 5, 60, "both tabs draw", wait=page.wait_for_timeout)
    context.set_offline(True)
    keep_picture(page, "training")
    page.wait_for_timeout(1500)
    context.set_offline(False)

    wait_for_done(page)
    wait_for_done(second)
    losses = train_losses(server, job_id)
    assert losses[-1] < losses[0] / 3, "the loss fell"
    for tab in (page, second):
        until(lambda tab=tab: points(tab) == len(losses), 30, "every point is there", wait=page.wait_for_timeout)
    curve = curve_as_table(page, EPOCHS)
    assert curve_as_table(second, EPOCHS) == curve
    page.reload()
    until(lambda: points(page) == len(losses), 30, "and again after a reload", wait=page.wait_for_timeout)
    assert curve_as_table(page, EPOCHS) == curve
    keep_picture(page, "trained")

    page.locator("#image_file").set_input_files(unseen_digit)
    page.get_by_label("Show visualizations and statistics").check()
    with context.expect_page() as opened:
        page.get_by_role("button", name="Test One").click()
    check_prediction(opened.value, unseen_digit)
    keep_picture(opened.value, "prediction")


def check_prediction(page: Page, digit: Path) -> None:
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
    expect(rows.filter(has_text="nn.Linear(300 → 50)").first).to_contain_text("Compressed representation")


def test_one_click_from_an_empty_home_page_to_a_moving_curve(
    server: RunningServer, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(server.url)
    keep_picture(page, "empty")
    page.get_by_role("button", name="Try it with handwritten digits").click()
    page.wait_for_url("**/models/2*", timeout=60_000)
    until(lambda: points(page) > 3, 90, "the curve moves", wait=page.wait_for_timeout)
    page.goto(server.url)
    expect(page.get_by_text("Handwritten digits, generic")).to_be_visible()
    keep_picture(page, "home")

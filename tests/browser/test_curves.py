"""The curves of a model's page: what a person does with them, with few points and with a hundred thousand."""

import csv
import json
import math
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from jobs.networks.starter import starter_network
from tests.browser.conftest import PictureKeeper
from tests.browser.test_pages import SHAPE, make_model, no_sideways_scroll
from tests.browser.walk import points, told, train_losses
from tests.conftest import RunningServer, until
from tests.curve_events import retold

MANY = 100_000
SPIKE = 63_217
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def short(shared: RunningServer, generic: str) -> str:
    """A training as it was: 20 epochs."""
    job_id = make_model(shared, generic, 20)
    assert shared.wait_for_job(job_id)["status"] == "Done"
    return job_id


def told_anew(server: RunningServer, generic: str, losses: list[float], rates: list[float] | None = None) -> str:
    """A job that has ended, with these points."""
    job_id = make_model(server, generic, 1)
    assert server.wait_for_job(job_id)["status"] == "Done"
    retold(server.data_dir / "jobs" / job_id / "events.jsonl", losses, rates)
    return job_id


@pytest.fixture(scope="module")
def long(shared: RunningServer, generic: str) -> str:
    """A hundred thousand points, one of which is ten times as high as all others near it."""
    rnd = random.Random(1)
    losses = [max(0.001, 0.02 + 0.2 * math.exp(-step / 9000) + rnd.gauss(0, 0.006)) for step in range(MANY)]
    losses[SPIKE - 1] = 0.9
    return told_anew(shared, generic, losses, [0.01 * 0.1 ** (step // 33_400) for step in range(MANY)])


def open_running_curves(page: Page, server: RunningServer, job_id: str) -> Locator:
    page.goto(f"{server.url}/models/{job_id}")
    until(lambda: points(page) > 0, 60, "points are there", wait=page.wait_for_timeout)
    curves = page.locator('[data-role="curves"]')
    expect(curves.locator('[data-role="loss-chart"] canvas')).to_be_visible()
    return curves


def open_curves(page: Page, server: RunningServer, job_id: str) -> Locator:
    """Those of a training that is over, with all that the page draws by itself."""
    curves = open_running_curves(page, server, job_id)
    expect(page.locator('[data-role="device"]')).not_to_have_text("–")
    wait_for_rest(page, curves)
    return curves


def pictures(curves: Locator) -> list[str]:
    """Both charts, as they are drawn."""
    charts = [curves.locator(f'[data-role="{name}"] canvas') for name in ("loss-chart", "rate-chart")]
    return [chart.evaluate("canvas => canvas.toDataURL()") for chart in charts]


def wait_for_rest(page: Page, curves: Locator) -> None:
    seen: list[list[str]] = [[]]

    def is_as_before() -> bool:
        seen.append(pictures(curves))
        return seen[-1] == seen[-2]

    until(is_as_before, 30, "the charts are drawn", wait=page.wait_for_timeout)


def drag(page: Page, chart: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a box; the places are shares of the chart's plot."""
    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = (
        (box["x"] + share_x * box["width"], box["y"] + share_y * box["height"]) for share_x, share_y in (start, end)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=5)
    page.mouse.up()


def hover(page: Page, chart: Locator, share: float) -> None:
    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def zoom(curves: Locator) -> list[float]:
    return [float(end) for end in (curves.get_attribute("data-zoom") or "").split()]


def epoch_reads(page: Page, expected: float, tolerance: float = 0.001) -> None:
    """The readout is drawn once a frame."""
    readout = page.locator('[data-value="epoch"]')
    until(
        lambda: abs(float(readout.inner_text()) - expected) <= tolerance, 30, f"epoch {expected}", page.wait_for_timeout
    )


def blue_rows(page: Page, curves: Locator) -> list[bool]:
    """For each row of pixels of the loss chart from its top: whether the training line is in it."""
    rows: list[bool] = curves.locator('[data-role="loss-chart"] canvas').evaluate(
        """canvas => {
            const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return Array.from({ length: height }, (_, y) => {
                // At the right end stands the mark of the last frame, in blue, too.
                for (let x = 80; x < width - 30; x += 1) {
                    const at = 4 * (y * width + x);
                    if (data[at + 2] - data[at] > 40 && data[at + 3] > 40) return true;
                }
                return false;
            });
        }"""
    )
    return rows


def downloaded(page: Page, curves: Locator, what: str, folder: Path) -> Path:
    curves.locator("summary").filter(has_text="Download").click()
    with page.expect_download() as download:
        curves.locator(".menu-list").get_by_text(what).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    page.keyboard.press("Escape")
    return path


def test_a_hundred_thousand_points_are_there_at_once_and_the_spike_is_seen(
    shared: RunningServer, long: str, page: Page, keep_picture: PictureKeeper
) -> None:
    asked: list[str] = []
    page.on("response", lambda response: asked.append(response.url))
    curves = open_curves(page, shared, long)
    assert points(page) == MANY
    assert int(curves.get_attribute("data-drawn") or 0) < 8000, "thinned"
    assert all("without=train" in url for url in asked if "/events?since=0" in url)
    expect(curves.locator('[data-role="summary"]')).to_contain_text("100,000 points")
    rows = blue_rows(page, curves)
    assert rows.index(True) < len(rows) / 5, "the one spike reaches up"
    keep_picture(curves, "whole")
    curves.get_by_role("button", name="Clip outliers").click()
    expect(curves.locator('[data-role="summary"]')).to_contain_text("points lie outside")
    keep_picture(curves, "clipped")


def test_zooming_in_brings_every_point_and_reset_brings_back_all(
    shared: RunningServer, long: str, page: Page, keep_picture: PictureKeeper
) -> None:
    curves = open_curves(page, shared, long)
    chart = curves.locator('[data-role="loss-chart"]')
    with page.expect_response(re.compile(r"curve\.json.*from=")) as fetched:
        drag(page, chart, (0.62, 0.2), (0.64, 0.21))
    low, high = zoom(curves)
    assert (low, high) == pytest.approx((620, 640), abs=3)
    finer = fetched.value.json()
    assert finer["whole"]
    assert SPIKE in finer["train"]["step"]
    # The learning rate is looked at between the same ends.
    keep_picture(curves, "zoomed")
    curves.get_by_role("button", name="Reset").click()
    assert zoom(curves) == []
    drag(page, chart, (0.2, 0.5), (0.5, 0.9))
    assert len(zoom(curves)) == 2
    chart.locator(".u-over").dblclick()
    assert zoom(curves) == []
    expect(curves.get_by_role("button", name="Reset")).to_be_disabled()
    chart.focus()
    for key, factor in (("+", 2), ("+", 4), ("-", 2)):
        page.keyboard.press(key)
        low, high = zoom(curves)
        assert (high - low) * factor == pytest.approx(1000, rel=0.01)
    page.keyboard.press("0")
    assert zoom(curves) == []


def test_places_on_the_axis_differ_however_near_they_are(
    shared: RunningServer, long: str, page: Page, keep_picture: PictureKeeper, tmp_path: Path
) -> None:
    """As they are near at the beginning of an epoch of a million steps."""
    curves = open_curves(page, shared, long)
    curves.locator('[data-role="loss-chart"]').focus()
    for _ in range(23):
        page.keyboard.press("+")
    low, high = zoom(curves)
    assert high - low < 0.0002
    wait_for_rest(page, curves)
    keep_picture(curves, "near")
    root = ElementTree.fromstring(downloaded(page, curves, "SVG", tmp_path).read_text())
    middle = [text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    for y in {text.get("y") for text in middle}:
        places = [text.text for text in middle if text.get("y") == y]
        assert len(set(places)) == len(places) > 2, places


def test_live_points_leave_the_zoom_alone(shared: RunningServer, generic: str, page: Page) -> None:
    job_id = make_model(shared, generic, 1500)
    curves = open_running_curves(page, shared, job_id)
    until(lambda: points(page) > 300, 60, "some epochs", wait=page.wait_for_timeout)
    drag(page, curves.locator('[data-role="loss-chart"]'), (0.2, 0.5), (0.5, 0.51))
    before, seen = zoom(curves), points(page)
    assert before
    until(lambda: points(page) > seen + 200, 60, "more points", wait=page.wait_for_timeout)
    assert zoom(curves) == before
    page.reload()
    until(lambda: points(page) > seen + 300, 60, "and after a reload", wait=page.wait_for_timeout)
    requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
    expect(page.locator('[data-status="Aborted"]')).to_be_visible(timeout=30_000)
    told = len(train_losses(shared, job_id))
    until(lambda: points(page) == told, 20, "no gap and no double", wait=page.wait_for_timeout)


def test_the_crosshair_is_shared_by_the_charts_and_the_rest_of_the_page(
    shared: RunningServer, short: str, page: Page
) -> None:
    curves = open_curves(page, shared, short)
    page.evaluate(
        """() => {
            window.cursors = [];
            document.addEventListener("curvecursor", ({ detail }) => window.cursors.push(detail.epoch));
        }"""
    )
    hover(page, curves.locator('[data-role="loss-chart"]'), 0.5)
    other = curves.locator('[data-role="rate-chart"] .u-cursor-x')
    expect(other).to_be_visible()
    epoch_reads(page, 10, 0.3)
    assert page.evaluate("window.cursors.at(-1)") == pytest.approx(10, abs=0.3)
    offsets = [
        curves.locator(f'[data-role="{name}"] .u-cursor-x').bounding_box()["x"]  # type: ignore[index]
        for name in ("loss-chart", "rate-chart")
    ]
    assert offsets[0] == pytest.approx(offsets[1], abs=2)
    hover(page, curves.locator('[data-role="rate-chart"]'), 0.25)
    epoch_reads(page, 5, 0.3)
    page.mouse.move(5, 5)
    until(lambda: page.evaluate("window.cursors.at(-1)") is None, 30, "the cursor left", wait=page.wait_for_timeout)
    epoch_reads(page, 20)

    curves.locator('[data-role="loss-chart"]').focus()
    page.keyboard.press("Home")
    epoch_reads(page, 0, 0.1)
    page.keyboard.press("Shift+ArrowRight")
    epoch_reads(page, 2, 0.1)
    page.keyboard.press("ArrowRight")
    expect(curves.locator('[data-role="spoken-values"]')).to_contain_text(re.compile(r"^Epoch 2\.\d+: training"))
    page.keyboard.press("Escape")
    epoch_reads(page, 20)


def test_the_frame_that_is_shown_is_marked(shared: RunningServer, short: str, page: Page) -> None:
    curves = open_curves(page, shared, short)
    # Its own frame is marked, too, when it is there.
    expect(page.locator('[data-role="live-layers"]')).to_have_attribute("data-frame", re.compile(r"\d"))
    wait_for_rest(page, curves)
    seen = [pictures(curves)]

    def are_drawn_anew() -> bool:
        return all(one != other for one, other in zip(seen[-1], pictures(curves), strict=True))

    for latest in ("true", "false"):
        page.evaluate(
            f'document.dispatchEvent(new CustomEvent("frameshown", {{ detail: {{ epoch: 7, latest: {latest} }} }}))'
        )
        until(are_drawn_anew, 20, "both charts show it", wait=page.wait_for_timeout)
        seen.append(pictures(curves))
    assert all(len({one, two, three}) == 3 for one, two, three in zip(*seen, strict=True))


def test_lines_are_hidden_by_their_names_and_stay_so(shared: RunningServer, short: str, page: Page) -> None:
    curves = open_curves(page, shared, short)
    training, validation = (curves.get_by_role("button", name=name) for name in ("Training", "Validation"))
    assert any(blue_rows(page, curves))
    training.click()
    curves.get_by_role("button", name="Smoothed").click()
    expect(training).to_have_attribute("aria-pressed", "false")
    until(lambda: not any(blue_rows(page, curves)), 30, "no blue line is left", wait=page.wait_for_timeout)
    page.reload()
    expect(training).to_have_attribute("aria-pressed", "false")
    expect(validation).to_have_attribute("aria-pressed", "true")
    training.click()
    expect(training).to_have_attribute("aria-pressed", "true")


def test_smoothing_and_scale_are_remembered(
    shared: RunningServer, short: str, page: Page, keep_picture: PictureKeeper
) -> None:
    curves = open_curves(page, shared, short)
    slider, window = curves.get_by_label("Smoothing"), curves.locator('[data-role="smoothing-window"]')
    smoothed = curves.get_by_role("button", name="Smoothed")
    expect(smoothed).to_be_visible()
    slider.focus()
    page.keyboard.press("Home")
    expect(window).to_have_text("off")
    expect(smoothed).to_be_hidden()
    page.keyboard.press("End")
    expect(window).to_have_text(re.compile(r"^\d+ steps$"))
    expect(smoothed).to_be_visible()
    steps = len(train_losses(shared, short))
    expect(curves.locator('[data-role="summary"]')).to_contain_text(f"averages about {round(steps * 0.2)} steps")
    curves.get_by_role("button", name="Log", exact=True).click()
    keep_picture(curves, "log")
    page.reload()
    expect(curves.get_by_role("button", name="Log", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(slider).to_have_value("8")


def test_what_a_chart_cannot_show_is_said(shared: RunningServer, generic: str, page: Page) -> None:
    losses = [0.5, math.nan, 0.25, 0.0, -1.0, math.inf, 0.125, 0.1]
    job_id = told_anew(shared, generic, losses * 30)
    curves = open_curves(page, shared, job_id)
    summary = curves.locator('[data-role="summary"]')
    expect(summary).to_contain_text("60 values are no finite numbers")
    curves.get_by_role("button", name="Log", exact=True).click()
    # One of them a validation's.
    expect(summary).to_contain_text("61 values are zero or less")


def test_the_curve_as_csv_svg_and_png(shared: RunningServer, short: str, page: Page, tmp_path: Path) -> None:
    curves = open_curves(page, shared, short)
    losses = train_losses(shared, short)
    with downloaded(page, curves, "CSV", tmp_path).open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["training_loss"]) for row in rows if row["training_loss"]] == losses
    assert float(rows[-1]["validation_loss"]) > 0

    root = ElementTree.fromstring(downloaded(page, curves, "SVG", tmp_path).read_text())
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Model", "Training", "Validation", "Learning rate", "20"} <= set(words)
    lines: dict[str, Any] = {str(path.findtext(f"{SVG}title")): path.get("d", "") for path in root.iter(f"{SVG}path")}
    assert len(re.findall("[ML]", lines["Training"])) == len(losses)
    assert not root.findall(f".//{SVG}image")

    with Image.open(downloaded(page, curves, "PNG", tmp_path)) as picture:
        assert picture.size == (2 * int(root.get("width", "0")), 2 * int(root.get("height", "0")))
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert (0, 114, 178) in colours, "the training's line, in its own colour"
    page.get_by_role("button", name="Dark").click()
    with Image.open(downloaded(page, curves, "PNG", tmp_path)) as picture:
        assert max(picture.convert("RGB").getpixel((2, 2))) < 60  # type: ignore[arg-type, type-var]


def test_a_csv_that_has_not_every_step_is_not_called_so(shared: RunningServer, generic: str, page: Page) -> None:
    whole = told_anew(shared, generic, [1 / (step + 1) for step in range(300)])
    thinned = told_anew(shared, generic, [1 / (step + 1) for step in range(300)])
    events = shared.data_dir / "jobs" / thinned / "events.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    for event in lines:
        if event["type"] == "train":
            event["step"] = [3 * step for step in event["step"]]
    events.write_text("".join(f"{json.dumps(event)}\n" for event in lines))
    for job_id, rows in ((whole, "CSV, every step"), (thinned, "CSV, 300 of 900 steps")):
        curves = open_curves(page, shared, job_id)
        curves.locator("summary").filter(has_text="Download").click()
        expect(curves.get_by_role("link", name="CSV")).to_have_text(rows)
    expect(curves.locator('[data-role="summary"]')).to_contain_text("keeps 300 of its 900 steps")


def test_a_training_that_explodes_says_how_far_it_came(shared: RunningServer, generic: str, page: Page) -> None:
    exploding = """
class Loss(nn.Module):
    steps = 0
    def forward(self, output, target):
        self.steps += self.training
        return (output - target).pow(2).mean() * (float("nan") if self.steps > 350 else 1.0)

def"""
    text = starter_network(SHAPE).replace("\ndef", exploding, 1).replace("nn.MSELoss()", "Loss()")
    job_id = make_model(shared, generic, 30, text)
    assert shared.wait_for_job(job_id)["status"] == "Error"
    page.goto(f"{shared.url}/models/{job_id}")
    epoch = told(shared, job_id, "train")[-1]["epoch"][-1]
    assert 3 < epoch < 30
    expect(page.locator('[data-role="epoch"]')).to_have_text(f"{epoch:.1f} of 30")
    expect(page.locator('[data-role="percent"]')).to_have_text(f"{math.floor(epoch / 30 * 100)} %")
    expect(page.locator('[data-role="train-loss"]')).to_have_text("nan")
    # Of the whole training, and so it is called.
    expect(page.get_by_text("Images / s, mean of the training")).to_be_visible()
    began = told(shared, job_id, "network")[0]["time"]
    mean = (
        epoch * told(shared, job_id, "network")[0]["train_images"] / (told(shared, job_id, "failed")[0]["time"] - began)
    )
    shown = float(page.locator('[data-role="rate"]').inner_text().replace(",", ""))
    assert shown == pytest.approx(mean, rel=0.01)
    page.goto(shared.url)
    row = page.locator(f'tr[data-job-id="{job_id}"]')
    expect(row.locator("td.number").first).to_have_text("nan")


def test_the_charts_fill_the_window_and_come_back(
    shared: RunningServer, short: str, page: Page, keep_picture: PictureKeeper
) -> None:
    curves = open_curves(page, shared, short)
    chart = curves.locator('[data-role="loss-chart"]')
    small = chart.bounding_box()
    button = curves.get_by_role("button", name="View large")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    large = chart.bounding_box()
    assert small is not None and large is not None
    assert large["width"] > 1300
    assert large["height"] > small["height"] * 1.3
    keep_picture(dialog, "large")
    dialog.locator("summary").click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert chart.bounding_box() == small

    page.goto(f"{shared.url}/models/images/generic/large_graph?job_id={short}")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(f"{shared.url}/models/{short}")


def test_the_table_has_the_numbers_of_all_points(shared: RunningServer, long: str, page: Page) -> None:
    curves = open_curves(page, shared, long)
    curves.get_by_text("View as table").click()
    rows = curves.locator("tbody tr")
    expect(rows).to_have_count(1000)
    assert rows.nth(632).locator("th, td").all_inner_texts()[3] == "0.9"


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (390, "dark"), (1400, "dark")])
def test_the_tools_fit(
    shared: RunningServer, short: str, browser: Browser, keep_picture: PictureKeeper, width: int, theme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    curves = open_curves(page, shared, short)
    assert no_sideways_scroll(page)
    for tool in curves.locator(".curve-tools :is(button, input, summary):not(.menu-list *)").all():
        box = tool.bounding_box()
        assert box is not None
        assert box["width"] >= 24 and box["height"] >= 24, tool
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, tool
    before = curves.bounding_box()
    curves.get_by_role("button", name="Log", exact=True).click()
    curves.get_by_role("button", name="Clip outliers").click()
    with page.expect_response(re.compile(r"/curve\.json\?.*\bfrom=")):
        curves.get_by_role("button", name="Zoom in").click()
    assert zoom(curves)
    wait_for_rest(page, curves)
    assert curves.bounding_box() == before, "nothing jumps"
    keep_picture(curves, f"{width}-{theme}")
    curves.locator("summary").filter(has_text="Download").click()
    assert no_sideways_scroll(page)
    entry = curves.locator(".menu-list button").first.bounding_box()
    assert entry is not None
    assert entry["x"] >= 0
    assert entry["x"] + entry["width"] <= width
    keep_picture(curves, f"{width}-{theme}-menu")
    context.close()

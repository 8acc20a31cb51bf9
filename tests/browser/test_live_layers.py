"""Layers while they learn: a real training watched in a browser, back through its frames, with images of one's own."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect
from playwright.sync_api import Error as PlaywrightError

from jobs.networks.starter import starter_network
from tests.browser.conftest import PictureKeeper, held_requests, post
from tests.browser.test_pages import no_sideways_scroll
from tests.browser.walk import picture, told
from tests.conftest import RunningServer, save_digits, until


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough that an epoch is not over at once."""
    return save_digits(tmp_path_factory.mktemp("live") / "digits", 600)


def make_model(server: RunningServer, dataset: str, **changes: str | int) -> str:
    fields: dict[str, str | int] = {"model_name": "Model", "dataset": dataset, "train_epochs": 100_000}
    rare: dict[str, str | int] = {"snapshot_interval": 0, "val_interval": 50, "random_seed": 1}
    network: dict[str, str | int] = {"custom_network": starter_network((1, 28, 28))}
    return post(server, "models/images/generic", fields | rare | network | changes)


@pytest.fixture
def running(shared: RunningServer, generic: str) -> Iterator[str]:
    """A training that goes on for as long as the test likes, slow enough to learn something in every frame."""
    job_id = make_model(shared, generic, batch_size=10, learning_rate="0.003")
    yield job_id
    requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
    shared.wait_for_job(job_id)


@pytest.fixture(scope="module")
def over(shared: RunningServer, generic: str) -> str:
    """A training that is done."""
    job_id = make_model(shared, generic, batch_size=10, learning_rate="0.003", train_epochs=12)
    assert shared.wait_for_job(job_id)["status"] == "Done"
    assert len(told(shared, job_id, "frame")) > 1
    return job_id


def panel(page: Page) -> Locator:
    return page.locator('[data-role="live-layers"]')


def slider(page: Page) -> Locator:
    return panel(page).get_by_role("slider", name="Frame")


def shown(page: Page) -> int:
    """The number of the frame on the page; 0 before the first."""
    return int(panel(page).get_attribute("data-frame") or 0)


def until_shown(page: Page, seconds: float = 30, *, after: int = 0) -> int:
    until(lambda: shown(page) > after, seconds, f"a frame after {after} is shown", wait=page.wait_for_timeout)
    return shown(page)


def test_layers_move_while_the_network_learns(
    shared: RunningServer, running: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/{running}")
    first = until_shown(page, 60)
    expect(panel(page)).to_contain_text("Validation image 0")
    figures = panel(page).locator("[data-picture]")
    assert figures.evaluate_all("all => all.map(one => one.dataset.picture)") == [
        "normalized",
        "code",
        "output",
        "error",
    ]
    image, output = picture(page, "normalized"), picture(page, "output")
    nodes = panel(page).locator("[data-picture] img, tbody tr").element_handles()
    height = panel(page).locator("[data-role=layer-rows]").bounding_box()
    moved = until_shown(page, after=first)
    until_shown(page, after=moved)
    assert np.array_equal(picture(page, "normalized"), image), "it is one and the same image"
    assert not np.array_equal(picture(page, "output"), output), "and the network makes something else of it"
    assert all(node.evaluate("node => node.isConnected") for node in nodes), "what is there changes in place"
    assert panel(page).locator("[data-role=layer-rows]").bounding_box() == height
    weights = panel(page).locator('tr[data-kind="weights"]').first
    expect(weights).to_contain_text(re.compile(r"Gradient norm\s*[\d.]"))
    expect(panel(page).locator("tr[data-kind=activations]").filter(has_text="nn.ReLU").first).to_contain_text(
        "Dead units"
    )
    keep_picture(page, "learning")


def test_back_to_the_first_frame_and_live_again(shared: RunningServer, running: str, page: Page) -> None:
    page.goto(f"{shared.url}/models/{running}")
    until_shown(page, 60)
    until(lambda: len(told(shared, running, "frame")) > 4, 60, "there are frames to go through")
    last = until_shown(page, after=3)
    live = panel(page).get_by_role("button", name="Live")
    expect(live).to_have_attribute("aria-pressed", "true")
    output = picture(page, "output")

    slider(page).focus()
    page.keyboard.press("Home")
    number = told(shared, running, "frame")[0]["frame"]
    until(lambda: shown(page) == number, 20, "the first frame is shown", wait=page.wait_for_timeout)
    first = picture(page, "output")
    assert not np.array_equal(first, output)
    expect(slider(page)).to_have_attribute("aria-valuetext", re.compile(r"^epoch \d+\.\d, step \d+, frame 1 of \d+$"))
    expect(live).to_have_attribute("aria-pressed", "false")
    expect(panel(page).get_by_role("button", name="Previous frame")).to_be_disabled()

    # It stays where it is, whatever comes; a reload knows the same frames.
    until(lambda: told(shared, running, "frame")[-1]["frame"] > last, 30, "more frames come")
    assert shown(page) == number
    page.reload()
    until_shown(page)
    slider(page).focus()
    page.keyboard.press("Home")
    until(lambda: shown(page) == number, 20, "the first frame is shown again", wait=page.wait_for_timeout)
    assert np.array_equal(picture(page, "output"), first)

    page.locator("h1").click()
    page.keyboard.press("]")
    second = until_shown(page, after=number)
    page.keyboard.press("[")
    until(lambda: shown(page) == number, 20, "back", wait=page.wait_for_timeout)
    panel(page).get_by_role("button", name="Play the frames").click()
    until_shown(page, after=second)
    live.click()
    until_shown(page, after=last)
    expect(live).to_have_attribute("aria-pressed", "true")


def test_another_image_by_a_click_and_one_of_ones_own(
    shared: RunningServer, running: str, page: Page, digits: Path, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/{running}")
    until_shown(page, 60)
    before = picture(page, "normalized")
    pin = panel(page).get_by_role("button", name="Pin another image")
    pin.click()
    dialog = page.get_by_role("dialog", name="Pin another image")
    dialog.get_by_role("button", name="Training (").click()
    dialog.get_by_role("button", name="Next").click()
    keep_picture(page, "dialog")
    dialog.get_by_role("button", name=re.compile(r"^Training image 52\b")).click()
    expect(dialog).to_be_hidden()
    name = panel(page).locator('[data-role="frame-image"]')
    expect(name).to_have_text("Training image 52", timeout=60_000)
    expect(panel(page).locator('[data-role="awaited"]')).to_be_empty()
    clicked = picture(page, "normalized")
    assert not np.array_equal(clicked, before)

    pin.click()
    upload = dialog.get_by_label("or a picture of your own")
    upload.set_input_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."})
    expect(dialog.get_by_role("alert")).to_contain_text("The file is no picture")
    upload.set_input_files(max(digits.rglob("*.png")))
    expect(dialog).to_be_hidden()
    expect(name).to_have_text(max(digits.rglob("*.png")).name, timeout=60_000)
    assert not np.array_equal(picture(page, "normalized"), clicked)
    kinds = {frozenset(event["image"]) for event in told(shared, running, "frame")}
    assert kinds == {frozenset({"split", "index"}), frozenset({"name"})}


def test_who_wants_no_motion_gets_a_frame_now_and_then(shared: RunningServer, running: str, browser: Browser) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script("window.swaps = []; addEventListener('frameshown', () => swaps.push(performance.now()), true)")
    page.goto(f"{shared.url}/models/{running}")
    until(lambda: len(page.evaluate("swaps")) > 2, 60, "three frames", wait=page.wait_for_timeout)
    moments = page.evaluate("swaps")
    assert all(later - earlier > 4990 for earlier, later in pairwise(moments)), moments
    context.close()


def test_chart_and_slider_move_together(shared: RunningServer, over: str, page: Page) -> None:
    page.goto(f"{shared.url}/models/{over}")
    last = until_shown(page)
    chart = page.locator('[data-role="loss-chart"] .u-over').first
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    first = told(shared, over, "frame")[0]["frame"]
    until(lambda: shown(page) == first, 20, "the frame under the pointer is shown", wait=page.wait_for_timeout)
    expect(slider(page)).to_have_value("1")
    follow = panel(page).get_by_role("button", name="Last")
    expect(follow).to_have_attribute("aria-pressed", "false")
    page.mouse.move(5, 5)
    until(lambda: shown(page) == last, 20, "and the last one again", wait=page.wait_for_timeout)
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(slider(page)).to_have_value(str(len(told(shared, over, "frame"))))


def test_a_frame_that_is_gone_is_a_sentence_and_the_others_are_there(
    shared: RunningServer, over: str, page: Page
) -> None:
    frames = told(shared, over, "frame")
    gone = shared.data_dir / "jobs" / over / frames[0]["file"]
    content = gone.read_bytes()
    gone.unlink()
    page.goto(f"{shared.url}/models/{over}")
    last = until_shown(page)
    slider(page).focus()
    page.keyboard.press("Home")
    expect(panel(page).get_by_role("alert")).to_contain_text(f"kept no frame {frames[0]['frame']}")
    page.keyboard.press("End")
    until(lambda: shown(page) == last, 20, "the last frame is shown", wait=page.wait_for_timeout)
    gone.write_bytes(content)
    page.keyboard.press("Home")
    until(lambda: shown(page) == frames[0]["frame"], 20, "it is back", wait=page.wait_for_timeout)
    expect(panel(page).get_by_role("alert")).to_be_hidden()


def test_test_one_waits_visibly_and_says_beside_the_form_what_is_wrong(
    shared: RunningServer, over: str, page: Page, digits: Path
) -> None:
    page.goto(f"{shared.url}/models/{over}")
    form = page.locator('[data-mount="test-one"]')
    button = form.locator('[data-role="submit"]')
    form.get_by_label("Upload a picture").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"This is a text."}
    )
    held = held_requests(page, "**/infer_one")
    with page.context.expect_page() as opened:
        button.click()
    expect(button).to_have_text("Testing…")
    expect(button).to_have_attribute("aria-busy", "true")
    expect(button).to_be_disabled()
    until(lambda: held, 20, "it has asked", wait=page.wait_for_timeout)
    held[0].continue_()
    page.unroute("**/infer_one")
    expect(form.get_by_role("alert")).to_contain_text("The file is no picture", timeout=60_000)
    until(opened.value.is_closed, 30, "the tab without an answer goes", wait=page.wait_for_timeout)
    expect(button).to_have_text("Test One")

    form.get_by_label("Upload a picture").set_input_files(max(digits.rglob("*.png")))
    with page.context.expect_page() as opened:
        button.click()
    expect(opened.value.locator("[data-picture]")).to_have_count(5, timeout=60_000)
    expect(button).to_be_enabled()
    expect(form.get_by_role("alert")).to_be_hidden()


def test_test_one_is_free_again_when_its_tab_is_stopped_or_led_elsewhere(
    shared: RunningServer, over: str, page: Page, digits: Path
) -> None:
    page.goto(f"{shared.url}/models/{over}")
    form = page.locator('[data-mount="test-one"]')
    button = form.locator('[data-role="submit"]')
    form.get_by_label("Upload a picture").set_input_files(max(digits.rglob("*.png")))

    def hold(route: Route) -> None:
        """The answer never comes."""

    page.route("**/infer_one", hold)
    for leave in (
        press_escape,
        lambda tab: tab.close(),
        lambda tab: tab.goto(shared.url),
        lambda tab: tab.goto("data:text/html,elsewhere"),
    ):
        with page.context.expect_page() as opened:
            button.click()
        expect(opened.value.locator("body")).to_contain_text("Esc stops waiting.")
        expect(button).to_have_text("Testing…")
        leave(opened.value)
        expect(button).to_have_text("Test One")
        expect(button).to_be_enabled()
        expect(form.get_by_role("alert")).to_be_hidden()
    page.unroute("**/infer_one")
    with page.context.expect_page() as opened:
        button.click()
    expect(opened.value.locator("[data-picture]")).to_have_count(5, timeout=60_000)
    expect(opened.value.get_by_role("link", name="Model", exact=True).first).to_have_attribute(
        "href", f"/models/{over}"
    )


def press_escape(tab: Page) -> None:
    # The tab goes while the key is still down, or a moment later.
    with tab.expect_event("close"), suppress(PlaywrightError):
        tab.keyboard.press("Escape")


def test_numbers_and_places_of_layers_are_written_one_way_everywhere(
    shared: RunningServer, generic: str, page: Page, digits: Path, keep_picture: PictureKeeper
) -> None:
    """In Torch's way of counting, as it prints the network; small numbers as 1.2e-5, also in captions and settings."""
    tiny = starter_network((1, 28, 28), "torch").replace("MulConstant(1 / 256)", "MulConstant(1e-9)")
    no_biases = "for _, place in ipairs({3, 5, 7, 9}) do autoencoder:get(place).bias:zero() end\n\nreturn function"
    text = tiny.replace("return function", no_biases, 1)
    job_id = make_model(
        shared,
        generic,
        framework="torch",
        custom_network=text,
        train_epochs=1,
        snapshot_interval=1,
        learning_rate="0.00001",
    )
    assert shared.wait_for_job(job_id)["status"] == "Done"
    page.goto(f"{shared.url}/models/{job_id}")
    until_shown(page)
    places = [f"({number})" for number in range(1, 11)]
    table = page.locator(".layer-table tbody tr td:first-child")
    expect(table).to_have_text(places)
    one_way(page, places)
    expect(page.locator("table.spec tr").filter(has_text="Base learning rate").locator("td")).to_have_text("1e-5")
    keep_picture(page, "model")

    form = page.locator('[data-mount="test-one"]')
    form.get_by_label("Upload a picture").set_input_files(max(digits.rglob("*.png")))
    form.get_by_label("Show visualizations").check()
    with page.context.expect_page() as opened:
        form.locator('[data-role="submit"]').click()
    expect(opened.value.locator("[data-picture]")).to_have_count(5, timeout=60_000)
    one_way(opened.value, places)
    keep_picture(opened.value, "test-one")


def one_way(page: Page, places: list[str]) -> None:
    expect(page.locator("tr[data-kind=activations] .layer-place")).to_have_text(places)
    code = page.locator("[data-picture=code]")
    low, high = code.locator(".colour-bar span:not(.bar)").all_inner_texts()
    expect(code.locator(".caption")).to_have_text(f"The 50 values of nn.Linear(300 -> 50): {low} to {high}.")
    assert re.fullmatch(r"-?\d(\.\d+)?e-\d", high), high
    assert not re.search(r"\de(\+|-0)", page.locator("body").inner_text())


def test_a_training_without_live_layers_says_so(shared: RunningServer, generic: str, page: Page) -> None:
    job_id = make_model(shared, generic, train_epochs=1, live_layers=0)
    assert shared.wait_for_job(job_id)["status"] == "Done"
    page.goto(f"{shared.url}/models/{job_id}")
    expect(panel(page)).to_contain_text("This training was started without live layers.")
    expect(panel(page).get_by_role("button")).to_have_count(0)


def test_what_looks_wrong_is_said_in_words(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    text = starter_network((1, 28, 28)).replace("\ndef", "\nnn.init.constant_(autoencoder[4].bias, -1e6)\n\ndef")
    job_id = make_model(shared, generic, train_epochs=2, learning_rate="1e-6", custom_network=text)
    assert shared.wait_for_job(job_id)["status"] == "Done"
    page.goto(f"{shared.url}/models/{job_id}")
    until_shown(page)
    warnings = panel(page).get_by_role("list", name="What looks wrong").get_by_role("listitem")
    expect(warnings.first).to_contain_text("nn.Linear(300 → 50)")
    expect(warnings.first).to_contain_text("50 of 50 code units never fire.")
    code = panel(page).locator("tr[data-kind=activations]").filter(has_text="nn.ReLU").nth(1)
    expect(code).to_contain_text("50 of 50 (100 %)")
    keep_picture(panel(page), "warnings")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390, 360])
def test_the_panel_fits_every_page(
    shared: RunningServer, over: str, browser: Browser, keep_picture: PictureKeeper, theme: str, width: int
) -> None:
    size: ViewportSize = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if theme == "dark" else "light")
    page = context.new_page()
    page.goto(f"{shared.url}/models/{over}")
    until_shown(page)
    assert no_sideways_scroll(page)
    expect(panel(page).get_by_role("button", name="Pin another image")).to_be_hidden()
    tops = page.locator(".job-grid .panel").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    log = page.locator('[data-mount="log"]').evaluate("log => log.getBoundingClientRect().top")
    assert width > 1040 or max(tops) == log, "in one column the log comes last"
    keep_picture(page, f"{theme}-{width}")
    context.close()

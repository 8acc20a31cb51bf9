"""A training that is left and goes on, watched in a browser: one curve, each step once, on every page."""

import os
import re
import signal
from itertools import pairwise

import requests
from playwright.sync_api import Page, expect

from jobs.folder import JobFolder
from jobs.networks.starter import starter_network
from tests.browser.conftest import PictureKeeper, post, stays_inside
from tests.browser.walk import paste_network, told, train_losses
from tests.conftest import RunningServer, until

# Goes on for as long as the test likes, slowly enough that a page holds every step; a snapshot every second or so.
SLOW = starter_network((1, 28, 28)).replace(
    "lambda input, label: input", "lambda input, label: (__import__('time').sleep(0.01), input)[1]"
)
MODEL = {"model_name": "Model", "train_epochs": 5_000, "batch_size": 10, "learning_rate": "0.003", "val_interval": 5,
         "snapshot_interval": 5, "random_seed": 1, "custom_network": SLOW}  # fmt: skip


def create(page: Page, server: RunningServer, dataset: str, **fields: str) -> str:
    """A training of the slow network, made through the form; its id."""
    page.goto(f"{server.url}/models/images/generic/new?dataset={dataset}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    paste_network(page, SLOW)
    page.locator("#keep_snapshots").select_option(fields.pop("keep_snapshots", "all"))
    for name, value in {"model_name": "Model", "batch_size": "10", "learning_rate": "0.003", **fields}.items():
        page.locator(f"#{name}").fill(value)
    page.get_by_role("button", name="Create").press("Enter")
    page.wait_for_url("**/models/2*")
    return page.url.rsplit("/", 1)[1]


def held(page: Page, what: str) -> int:
    """How many points the page knows of ("points"), or draws ("drawn")."""
    return int(page.locator('[data-role="curves"]').get_attribute(f"data-{what}") or 0)


def kill(folder: JobFolder) -> None:
    os.killpg(int(folder.lock.read_text()), signal.SIGKILL)


def abort(page: Page) -> None:
    page.get_by_role("button", name="Abort job").press("Enter")
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("dialog").get_by_role("button", name="Abort", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[data-status="Aborted"]')).to_be_visible(timeout=30_000)


def has_all_points_once(page: Page, server: RunningServer, job_id: str) -> None:
    """The page that was open all the time, the server and a page that comes now say the same."""
    curve = requests.get(f"{server.url}/models/{job_id}/curve.json?buckets=5000", timeout=60).json()
    steps = curve["train"]["step"]
    assert steps == list(range(1, len(steps) + 1))
    rows = requests.get(f"{server.url}/models/{job_id}/curve.csv", timeout=60).text.splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == steps
    until(lambda: held(page, "points") == len(steps), 60, "the open page has every step", wait=page.wait_for_timeout)
    until(lambda: held(page, "drawn") == len(steps), 60, "and draws it once", wait=page.wait_for_timeout)


def offers_what_is_kept(page: Page, folder: JobFolder) -> None:
    """In the list and in the form of Test One, newest first."""
    kept = [str(epoch) for epoch in reversed(folder.snapshot_epochs())]
    for place, name in (
        ('[data-role="snapshot-list"] [data-epoch]', "data-epoch"),
        ("#snapshot_epoch option", "value"),
    ):
        shown = page.locator(place)
        names = f"all => all.map(one => one.getAttribute('{name}'))"
        until(lambda shown=shown, names=names: shown.evaluate_all(names) == kept, 30, f"{place} are {kept}",
              wait=page.wait_for_timeout)  # fmt: skip


def test_a_training_that_crashes_goes_on_before_ones_eyes_and_one_that_is_paused_when_asked(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    minutes = {"snapshot_minutes": "0.005", "snapshot_interval": "5", "val_interval": "5", "time_limit": "2"}
    job_id = create(page, shared, generic, train_epochs="5000", **minutes)
    folder = JobFolder(shared.data_dir / "jobs" / job_id)
    resume = page.get_by_role("button", name="Resume")
    until(lambda: list(folder.snapshots.glob("passing_*.pt")), 60, "a snapshot of a minute", wait=page.wait_for_timeout)
    expect(page.locator('[data-role="snapshot-list"]')).to_contain_text("5", timeout=60_000)
    expect(resume).to_be_hidden()
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    keep_picture(page, "running")

    kill(folder)
    message = page.locator('[data-role="message-list"]').get_by_text("Taken up again after step")
    expect(message).to_contain_text("Killed from outside (SIGKILL)", timeout=60_000)
    before = int(re.sub(r".*after step ([\d,]+),.*", r"\1", message.inner_text(), flags=re.DOTALL).replace(",", ""))
    until(lambda: held(page, "points") > before + 50, 60, "the curve goes on", wait=page.wait_for_timeout)
    pause.press("Enter")
    expect(page.locator('[data-status="Paused"]')).to_be_visible(timeout=30_000)
    expect(pause).to_be_hidden()
    expect(resume).to_be_focused()
    has_all_points_once(page, shared, job_id)
    page.reload()
    has_all_points_once(page, shared, job_id)
    expect(page.get_by_role("button", name="Abort job")).to_be_visible()
    limit = page.locator('[data-role="time-limit"]')
    status = requests.get(f"{shared.url}/jobs/{job_id}/events", timeout=60).json()["status"]
    minutes_left = round(7200 - status["seconds_toward_limit"]) // 60
    expect(limit).to_have_text(f"{minutes_left // 60}h {minutes_left % 60}m of 2h left")
    goes_on = page.locator('[data-role="goes-on"]')
    expect(goes_on).to_have_text(re.compile(r"It goes on after [\d.]+ of 5,000 epochs\."))

    keep_picture(page, "paused")
    seen = held(page, "points")
    resume.press("Enter")
    expect(page.locator('[data-status="Running"]')).to_be_visible(timeout=30_000)
    expect(resume).to_be_hidden()
    expect(pause).to_be_focused()
    expect(goes_on).to_be_hidden()
    until(lambda: held(page, "points") > seen + 50, 60, "the curve goes on", wait=page.wait_for_timeout)
    abort(page)
    expect(resume).to_be_visible()
    expect(limit).to_have_text("2h")
    has_all_points_once(page, shared, job_id)

    for path in folder.snapshots.iterdir():
        if path.stem != "snapshot_5":
            path.unlink()
    page.reload()
    expect(goes_on).to_contain_text("It goes on after 5 of 5,000 epochs, from its newest good snapshot.")
    resume.click()
    # After a crash, after a pause, and now.
    until(lambda: len(told(shared, job_id, "resumed")) == 3, 60, "it is taken up", wait=page.wait_for_timeout)
    abort(page)
    offers_what_is_kept(page, folder)
    has_all_points_once(page, shared, job_id)


def goes_back(numbers: list[int]) -> bool:
    return any(later < earlier for earlier, later in pairwise(numbers))


def test_a_training_that_crashes_before_its_first_snapshot_begins_anew_on_the_open_page_too(
    shared: RunningServer, generic: str, page: Page
) -> None:
    job_id = post(shared, "models/images/generic", {**MODEL, "dataset": generic, "snapshot_interval": 0})
    page.goto(f"{shared.url}/models/{job_id}")
    until(lambda: held(page, "points") > 500, 60, "some steps", wait=page.wait_for_timeout)
    # Whoever looks at a frame of which nothing is left looks at the newest again.
    until(lambda: len(told(shared, job_id, "frame")) > 1, 60, "two frames", wait=page.wait_for_timeout)
    layers = page.locator('[data-role="live-layers"]')
    expect(layers.locator('[data-role="previous"]')).to_be_enabled()
    layers.locator('[data-role="previous"]').click()
    expect(layers.locator('[data-role="newest"]')).to_have_attribute("aria-pressed", "false")
    page.locator('[data-role="curves"]').evaluate("""curves => {
        window.held = [];
        const note = () => window.held.push(Number(curves.dataset.points));
        note();
        new MutationObserver(note).observe(curves, { attributes: true, attributeFilter: ["data-points"] });
    }""")
    kill(JobFolder(shared.data_dir / "jobs" / job_id))
    until(lambda: goes_back(page.evaluate("window.held")), 60, "the curve goes back", wait=page.wait_for_timeout)
    expect(layers.locator('[data-role="newest"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator('[data-role="message-list"]')).to_contain_text("Taken up again from the beginning")
    until(lambda: held(page, "points") > 20, 60, "the curve goes on", wait=page.wait_for_timeout)
    abort(page)
    has_all_points_once(page, shared, job_id)


def test_a_training_that_is_done_trains_longer_before_ones_eyes(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    kept = {"snapshot_interval": "1", "keep_snapshots": "last", "keep_last": "2", "snapshot_minutes": ""}
    job_id = create(page, shared, generic, train_epochs="4", **kept)
    folder = JobFolder(shared.data_dir / "jobs" / job_id)
    longer = page.get_by_role("button", name="Train longer")
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    listed = page.locator('[data-role="snapshot-list"]')
    expect(listed).to_have_text("43")
    assert sorted(path.name for path in folder.snapshots.glob("*.pt")) == ["snapshot_3.pt", "snapshot_4.pt"]
    dialog = page.get_by_role("dialog")
    epochs = dialog.get_by_label("More epochs")
    longer.press("Enter")
    expect(epochs).to_be_focused()
    expect(dialog).to_contain_text("as in its last step, 3e-5")
    keep_picture(page, "asked")
    stays_inside(page, dialog)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(longer).to_be_focused()
    longer.click()
    dialog.get_by_role("button", name="Cancel").click()
    longer.click()
    epochs.fill("3")
    dialog.get_by_label("Learning rate").fill("0.001")
    page.keyboard.press("Enter")
    expect(listed).to_have_text("76", timeout=60_000)
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    expect(page.locator('[data-role="epoch"]')).to_have_text("7.0 of 7")
    expect(page.locator('[data-role="snapshots"] option')).to_have_text(["Epoch #7", "Epoch #6"])
    rates = requests.get(f"{shared.url}/models/{job_id}/curve.csv", timeout=60).text.splitlines()[-1].split(",")
    assert "0.001" in rates
    has_all_points_once(page, shared, job_id)


def test_a_training_whose_time_is_up_has_kept_its_last_step_and_is_resumed(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    # 29 seconds: the time in which its worker starts counts, too.
    job_id = create(page, shared, generic, train_epochs="5000", time_limit="0.008", snapshot_interval="0")
    until(lambda: held(page, "points"), 60, "it learns", wait=page.wait_for_timeout)
    expect(page.locator('[data-status="Aborted"]')).to_be_visible(timeout=120_000)
    expect(page.locator('[data-role="cause"]')).to_contain_text("time limit")
    expect(page.locator('[data-role="snapshot-list"] span')).to_have_count(1)
    keep_picture(page, "up")
    seen = len(train_losses(shared, job_id))
    page.get_by_role("button", name="Resume").press("Enter")
    until(lambda: held(page, "points") > seen, 60, "the curve goes on", wait=page.wait_for_timeout)
    # Unless its new time is up already.
    requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
    expect(page.locator('[data-status="Aborted"]')).to_be_visible()
    has_all_points_once(page, shared, job_id)

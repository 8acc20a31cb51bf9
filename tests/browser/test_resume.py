"""A training that is left and goes on, watched in a browser: one curve, each step once, on every page."""

import os
import re
import signal

import requests
from playwright.sync_api import Page, expect

from jobs.folder import JobFolder
from jobs.networks.starter import starter_network
from tests.browser.conftest import PictureKeeper, post
from tests.conftest import RunningServer, until

# Goes on for as long as the test likes, slowly enough that a page holds every step; a snapshot every second or so.
SLOW = starter_network((1, 28, 28)).replace(
    "lambda input, label: input", "lambda input, label: (__import__('time').sleep(0.01), input)[1]"
)
MODEL = {"model_name": "Model", "train_epochs": 5_000, "batch_size": 10, "learning_rate": "0.003", "val_interval": 5,
         "snapshot_interval": 5, "random_seed": 1, "custom_network": SLOW}  # fmt: skip


def held(page: Page, what: str) -> int:
    """How many points the page knows of ("points"), or draws ("drawn")."""
    return int(page.locator('[data-role="curves"]').get_attribute(f"data-{what}") or 0)


def kill(folder: JobFolder) -> None:
    os.killpg(int(folder.lock.read_text()), signal.SIGKILL)


def abort(page: Page) -> None:
    page.get_by_role("button", name="Abort job").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort", exact=True).click()
    expect(page.locator('[data-status="Aborted"]')).to_be_visible(timeout=30_000)


def has_all_points_once(page: Page, server: RunningServer, job_id: str) -> None:
    """The page that was open all the time, the server and a page that comes now say the same."""
    curve = requests.get(f"{server.url}/models/{job_id}/curve.json?buckets=5000", timeout=20).json()
    steps = curve["train"]["step"]
    assert steps == list(range(1, len(steps) + 1))
    rows = requests.get(f"{server.url}/models/{job_id}/curve.csv", timeout=20).text.splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == steps
    until(lambda: held(page, "points") == len(steps), 20, "the open page has every step", wait=page.wait_for_timeout)
    until(lambda: held(page, "drawn") == len(steps), 20, "and draws it once", wait=page.wait_for_timeout)


def test_a_training_that_crashes_goes_on_before_ones_eyes_and_one_that_is_paused_when_asked(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    job_id = post(shared, "models/images/generic", {**MODEL, "dataset": generic})
    folder = JobFolder(shared.data_dir / "jobs" / job_id)
    page.goto(f"{shared.url}/models/{job_id}")
    resume = page.get_by_role("button", name="Resume")
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
    pause.click()
    expect(page.locator('[data-status="Paused"]')).to_be_visible(timeout=30_000)
    expect(pause).to_be_hidden()
    has_all_points_once(page, shared, job_id)
    page.reload()
    has_all_points_once(page, shared, job_id)
    expect(page.get_by_role("button", name="Abort job")).to_be_visible()

    keep_picture(page, "paused")
    seen = held(page, "points")
    resume.click()
    expect(page.locator('[data-status="Running"]')).to_be_visible(timeout=30_000)
    expect(resume).to_be_hidden()
    until(lambda: held(page, "points") > seen + 50, 60, "the curve goes on", wait=page.wait_for_timeout)
    abort(page)
    expect(resume).to_be_visible()
    has_all_points_once(page, shared, job_id)


def test_a_training_that_crashes_before_its_first_snapshot_begins_anew_on_the_open_page_too(
    shared: RunningServer, generic: str, page: Page
) -> None:
    job_id = post(shared, "models/images/generic", {**MODEL, "dataset": generic, "snapshot_interval": 0})
    page.goto(f"{shared.url}/models/{job_id}")
    until(lambda: held(page, "points") > 300, 60, "some steps", wait=page.wait_for_timeout)
    kill(JobFolder(shared.data_dir / "jobs" / job_id))
    until(lambda: held(page, "points") < 200, 60, "the curve goes back", wait=page.wait_for_timeout)
    expect(page.locator('[data-role="message-list"]')).to_contain_text("Taken up again from the beginning")
    until(lambda: held(page, "points") > 20, 60, "the curve goes on", wait=page.wait_for_timeout)
    abort(page)
    has_all_points_once(page, shared, job_id)


def test_a_training_that_is_done_trains_longer_before_ones_eyes(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    fields = {**MODEL, "dataset": generic, "train_epochs": 4, "snapshot_interval": 1, "keep_snapshots": "last"}
    job_id = post(shared, "models/images/generic", fields)
    page.goto(f"{shared.url}/models/{job_id}")
    longer = page.get_by_role("button", name="Train longer")
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    listed = page.locator('[data-role="snapshot-list"]')
    expect(listed).to_have_text("43")
    longer.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("as in its last step, 3e-5")
    keep_picture(page, "asked")
    dialog.get_by_role("button", name="Cancel").click()
    longer.click()
    dialog.get_by_label("More epochs").fill("3")
    dialog.get_by_label("Learning rate").fill("0.001")
    dialog.get_by_role("button", name="Train", exact=True).click()
    expect(listed).to_have_text("76", timeout=60_000)
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    expect(page.locator('[data-role="epoch"]')).to_have_text("7.0 of 7")
    expect(page.locator('[data-role="snapshots"] option')).to_have_text(["Epoch #7", "Epoch #6"])
    has_all_points_once(page, shared, job_id)

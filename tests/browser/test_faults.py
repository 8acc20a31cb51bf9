"""What a page shows when things go wrong below it: a worker that is stopped, a socket that breaks, a list of jobs made anew."""

import os
import re
import shutil
import signal
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect
from playwright.sync_api import Error as PlaywrightError

from jobs.folder import JobFolder
from tests.browser.conftest import PictureKeeper, post
from tests.browser.test_resume import MODEL, SLOW, abort, has_all_points_once, held
from tests.conftest import RunningServer, save_digits, start_server, until

CUTS = 4


def signal_worker(folder: JobFolder, number: signal.Signals) -> None:
    os.killpg(int(folder.lock.read_text()), number)


def test_a_stopped_worker_and_a_socket_that_is_cut_every_second(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    connected: list[tuple[WebSocketRoute, WebSocketRoute]] = []

    def pass_on(ours: WebSocketRoute) -> None:
        its = ours.connect_to_server()

        def hear(message: str | bytes) -> None:
            # Engine.IO's message (4) with Socket.IO's welcome (0). Who is cut off before that tries another way.
            if str(message).startswith("40/jobs"):
                connected.append((ours, its))
            ours.send(message)

        its.on_message(hear)

    page.route_web_socket(re.compile("/socket.io/"), pass_on)
    job_id = post(shared, "models/images/generic", {**MODEL, "dataset": generic})
    folder = JobFolder(shared.data_dir / "jobs" / job_id)
    page.goto(f"{shared.url}/models/{job_id}")
    until(lambda: held(page, "points") > 20, 60, "the curve moves", wait=page.wait_for_timeout)
    for _ in range(CUTS):
        until(lambda: connected, 60, "the page has a socket again", wait=page.wait_for_timeout)
        page.wait_for_timeout(1000)
        sides = connected[-1]
        connected.clear()
        for side in sides:
            side.close()
    seen = held(page, "points")
    until(lambda: held(page, "points") > seen + 20, 60, "the curve goes on", wait=page.wait_for_timeout)

    home = page.context.new_page()
    home.goto(shared.url)
    row = home.locator(f'tr[data-job-id="{job_id}"]')
    expect(row.locator("progress")).to_be_visible()
    remark = page.locator('[data-role="remark"]')
    expect(remark).to_be_hidden()
    signal_worker(folder, signal.SIGSTOP)
    # How soon that is promised, tests/unit/test_signs_of_life.py says.
    expect(remark).to_contain_text("stopped from outside (SIGSTOP)")
    expect(row).to_contain_text("stopped from outside (SIGSTOP)")
    keep_picture(home, "stalled-home")
    expect(page.locator('[data-status="Running"]')).to_be_visible()
    keep_picture(page, "stalled")
    signal_worker(folder, signal.SIGCONT)
    expect(remark).to_be_hidden()
    expect(row).not_to_contain_text("Stalled")
    abort(page)
    has_all_points_once(page, shared, job_id)


def test_strange_events_of_pasted_code_hide_nothing_that_comes_after_them(
    shared: RunningServer, generic: str, context: BrowserContext
) -> None:
    strange = '{"type":"progress","fraction":1e999}\n{"type":"snapshots_removed"}\n{"type":"network","layers":NaN}\n'
    text = SLOW.replace("__import__('time').sleep(0.01)", f"open('events.jsonl', 'a').write({strange!r})")
    job_id = post(
        shared, "models/images/generic", {**MODEL, "dataset": generic, "custom_network": text, "train_epochs": 2}
    )
    page = context.new_page()
    page.goto(f"{shared.url}/models/{job_id}")
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    expect(page.locator('[data-role="epoch"]')).to_have_text("2.0 of 2")
    expect(page.locator('[data-role="snapshot-list"]')).to_have_text("2")
    has_all_points_once(page, shared, job_id)


def test_a_dataset_that_is_begun_anew_is_told_once_on_its_open_page(
    shared: RunningServer, digits: Path, page: Page, keep_picture: PictureKeeper
) -> None:
    pictures = save_digits(digits.parent / "many", 1000)
    for picture in pictures.glob("0/*.png"):
        picture.write_text("This is no picture.")
    fields: dict[str, str | int] = {"dataset_name": "Many", "folder_train": str(pictures)}
    job_id = post(shared, "datasets/images/classification", fields | {"resize_width": 1400, "resize_height": 1400})
    page.goto(f"{shared.url}/datasets/{job_id}")
    skipped = page.locator('[data-role="skipped-rows"] tr')
    expect(skipped.first).to_be_visible()
    folder = JobFolder(shared.data_dir / "jobs" / job_id)
    signal_worker(folder, signal.SIGKILL)
    messages = page.locator('[data-role="message-list"]')
    expect(messages).to_contain_text("(SIGKILL)")
    expect(messages).to_contain_text("Begun anew.")
    expect(skipped.first).to_be_visible()
    keep_picture(page, "anew")
    abort(page)

    def told() -> list[str]:
        try:
            return skipped.all_inner_texts()
        except PlaywrightError:
            # The page of a job that has ended loads itself anew.
            return []

    rows = until(told, 30, "what was skipped is told", wait=page.wait_for_timeout)
    assert len(rows) == len(set(rows)) > 0
    expect(page.locator('[data-role="skipped-count"]')).to_have_text(str(len(rows)))


def test_the_home_page_says_that_the_list_of_jobs_was_made_anew(
    shared: RunningServer, dataset: str, page: Page, keep_picture: PictureKeeper, tmp_path: Path
) -> None:
    data_dir = tmp_path / "a place with a name as long as people give" / "data"
    shutil.copytree(shared.data_dir / "jobs" / dataset, data_dir / "jobs" / dataset)
    (data_dir / "layerscope.sqlite").write_text("This is a text. " * 100)
    server = start_server(data_dir)
    page.goto(server.url)
    notice = page.locator('[data-role="damaged-list"]')
    expect(notice).to_contain_text("The list of jobs was damaged.")
    expect(page.get_by_role("link", name="Digits")).to_be_visible()
    keep_picture(page, "damaged")
    page.set_viewport_size({"width": 390, "height": 800})
    keep_picture(page, "damaged-narrow")
    server.stop()

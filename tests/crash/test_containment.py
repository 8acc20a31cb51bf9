"""Pasted code that tries to get out: what it could do in a worker, behind Test One and in a network check."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner

from jobs.children import Launcher
from jobs.containment.confinement import LARGEST_FILE_BYTES, REQUIRED, Kernel, Policy
from jobs.containment.paths import all_but
from jobs.containment.system_calls import number_of
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import BadNetwork, EnvironmentFault
from jobs.predictions import NetworkChecks, Predictions
from jobs.processes import start_worker
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import Store
from jobs.worker import WorkerJob
from tests.crash.escape import escaping_network, what_it_could
from tests.unit.digits_jobs import DATASET, events_of, make_dataset, model_job
from webapp.cli import check_sandbox, main
from webapp.config import Settings

MEMORY = 3 * 2**30
# What depends on how the machine is set up, even for a process that is not confined.
DEPENDS_ON_MACHINE = {"reads_a_memory", "raises_its_limits", "signals_by_descriptor"}
# What a child never gets, confined or not.
NEVER = {"sees_a_secret", "has_a_descriptor", "becomes_a_program"}


@dataclass
class Surroundings:
    """A data directory with what a network must not get at, and beside it a process and services of the same user."""

    data: Path
    outside: Path
    network: str = ""
    heard: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> Path:
        return self.data / "jobs"

    def policy(self, **changes: Any) -> Policy:
        return Policy(**{"memory": MEMORY, "hidden": self.data} | changes)

    def job(self) -> WorkerJob:
        return model_job(self.jobs, custom_network=self.network)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    made = Surroundings(tmp_path / "data", tmp_path / "outside")
    made.outside.mkdir()
    other = made.jobs / "20250101-000000-beef"
    other.mkdir(parents=True)
    (other / "worker.log").write_text("of another job")
    (made.data / "layerscope.sqlite").write_text("rows")
    for name in ("secret", "victim_file", "to_remove", "to_move"):
        (made.outside / name).write_text(name)
    make_dataset(made.jobs)
    monkeypatch.setenv("SECRET", "of the server")
    with ExitStack() as stack:
        victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        kept = stack.enter_context((made.outside / "secret").open())
        os.set_inheritable(kept.fileno(), True)
        service = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        named, hidden, datagrams = tmp_path / "named", f"layerscope test {os.getpid()}", tmp_path / "datagrams"
        for address, kind in ((str(named), socket.SOCK_STREAM), (f"\0{hidden}", socket.SOCK_STREAM),
                              (str(datagrams), socket.SOCK_DGRAM)):  # fmt: skip
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
        made.network = escaping_network(
            secret=made.outside / "secret",
            other_job=other,
            database=made.data / "layerscope.sqlite",
            jobs=made.jobs,
            outside=made.outside,
            dataset=made.jobs / DATASET,
            victim_file=made.outside / "victim_file",
            port=service.getsockname()[1],
            named_socket=named,
            hidden_socket=hidden,
            datagram_socket=datagrams,
            victim=victim.pid,
            group=os.getpgid(victim.pid),
            tgkill=number_of("tgkill"),
            too_large=LARGEST_FILE_BYTES + 1,
            too_much=2 * MEMORY,
        )
        yield made


def in_a_worker(place: Surroundings, policy: Policy) -> str:
    job = place.job()
    worker = start_worker(job.folder, job.spec, "cpu", Launcher(policy=policy))
    assert worker.wait(60) == 1
    return str(events_of(job, "failed")[0]["cause"])


def in_a_predictor(place: Surroundings, policy: Policy) -> str:
    job = place.job()
    predictions = Predictions(Launcher(policy=policy))
    picture = place.outside / "secret"
    try:
        with pytest.raises(BadNetwork) as error:
            predictions.predict(
                job.folder, job.sibling(DATASET), epoch=1, image=picture, show_visualizations=False, colormap="jet"
            )
    finally:
        predictions.close()
    return str(error.value)


def in_a_check(place: Surroundings, policy: Policy) -> str:
    scratch = place.data.parent / "scratch"
    scratch.mkdir()
    with pytest.raises(BadNetwork) as error:
        check(place.network, scratch, policy)
    return str(error.value)


def check(network: str, scratch: Path, policy: Policy) -> dict[str, Any]:
    request = {"text": network, "image_shape": [1, 28, 28]}
    return NetworkChecks(Launcher(policy=policy)).check(request, scratch)


@pytest.mark.parametrize("place", [in_a_worker, in_a_predictor, in_a_check])
def test_a_pasted_network_cannot_get_out(surroundings: Surroundings, place: Any) -> None:
    tried, could = what_it_could(place(surroundings, surroundings.policy()))
    assert tried > 40
    assert could == []


def test_without_confinement_all_of_that_can_be_done(surroundings: Surroundings) -> None:
    """So that the test above cannot pass because its attempts are wrong."""
    message = in_a_check(surroundings, surroundings.policy(mode="off"))
    tried, could = what_it_could(message)
    assert set(could).isdisjoint(NEVER)
    assert len(set(could) | NEVER | DEPENDS_ON_MACHINE) == tried


def test_a_job_says_what_protected_from_it(tmp_path: Path) -> None:
    """On a kernel that offers neither Landlock nor seccomp, too."""
    make_dataset(tmp_path)
    job = model_job(tmp_path, custom_network="raise RuntimeError('at work')")
    missing = {}
    for kernel in (Kernel(), Kernel(landlock=0, seccomp=False), Kernel(landlock=2, seccomp=True)):
        policy = Policy(kernel=kernel)
        worker = start_worker(job.folder, job.spec, "cpu", Launcher(policy=policy))
        assert worker.wait(60) == 1
        told = json.loads(worker.protections() or "")
        missing[kernel] = {protection["name"] for protection in told if not protection["in_force"]} & set(REQUIRED)
    assert list(missing.values()) == [set(), set(REQUIRED), {"files"}]


def test_who_wants_too_much_memory_is_told_how_much_there_is(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, custom_network="import torch\ntorch.ones(2**31)")
    policy = Policy(memory=MEMORY)
    assert start_worker(job.folder, job.spec, "cpu", Launcher(policy=policy)).wait(60) == 1
    assert "more memory than the 3 GiB that it may have" in events_of(job, "failed")[0]["cause"]
    with pytest.raises(BadNetwork, match=r"more memory than it may have, 3 GiB \(--memory-limit\)"):
        check("import torch\ntorch.ones(2**31)", tmp_path, policy)


def test_a_training_whose_spec_was_changed_does_not_begin(tmp_path: Path) -> None:
    """As its own network may have done, so that the next worker reads what the form may not name."""
    store = Store(tmp_path / "store.sqlite")
    scheduler = Scheduler(tmp_path, store, Resources())
    (tmp_path / "pictures").mkdir()
    spec = ImageClassificationDatasetSpec(dataset_name="Pictures", folder_train=str(tmp_path / "pictures"))
    job_id = scheduler.submit(spec)
    file = scheduler.folder(job_id).spec
    file.write_text(file.read_text().replace(str(tmp_path / "pictures"), "/etc"))
    scheduler.poll()
    job = store.get(job_id)
    assert job.status is Status.ERROR
    assert "spec.json in its folder was changed" in (job.cause or "")
    assert not scheduler.folder(job_id).events.exists()
    store.close()


def test_a_server_that_must_contain_starts_where_it_can_only(tmp_path: Path) -> None:
    settings = Settings(tmp_path, sandbox="require")
    check_sandbox(settings.containment)
    with pytest.raises(ClickException, match=r"does not offer. Files: .*Landlock.*Network: .*seccomp"):
        check_sandbox(replace(settings.containment, kernel=Kernel(landlock=0, seccomp=False)))
    check_sandbox(Policy("auto", kernel=Kernel(landlock=0, seccomp=False)))


def test_a_child_that_must_be_contained_does_nothing_where_it_cannot(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path)
    policy = Policy("require", kernel=Kernel(landlock=0, seccomp=False))
    worker = start_worker(job.folder, job.spec, "cpu", Launcher(policy=policy))
    assert worker.wait(60) == 1
    assert "cannot be contained" in (worker.words_before_order() or "")
    assert not job.folder.events.stat().st_size


def test_the_doctor_says_what_the_machine_offers(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["doctor", "--data-dir", str(tmp_path / "new"), "--memory-limit", "2"])
    assert found.exit_code == 0, found.output
    for line in (
        r"Data .*new can be written and has",
        r"Memory +2 GiB for a job",
        r"torch +\d",
        r"Landlock",
        "network",
    ):
        assert re.search(line, found.output), found.output
    found = CliRunner().invoke(main, ["doctor", "--data-dir", "/proc/layerscope"])
    assert found.exit_code == 1
    assert "cannot be written" in found.output


def test_no_link_leads_to_what_is_hidden(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    hidden = root / "share" / "data"
    for folder in (hidden, root / "pictures", elsewhere):
        folder.mkdir(parents=True)
    for name, target in {
        "up": tmp_path,
        "data": hidden,
        "around": root,
        "elsewhere": elsewhere,
        "ring": root / "ring",
    }.items():
        (root / name).symlink_to(target)
    (tmp_path / "link").symlink_to(root)
    for named in (root, tmp_path / "link"):
        assert set(all_but(hidden, named)) == {root / "pictures", root / "elsewhere", root / "ring"}


SAYS_WHAT_IS_NO_ANSWER = """
for number in range(3, 9):
    try:
        os.write(number, b"[]\\n")
    except OSError:
        pass
"""


@pytest.mark.parametrize("says", ["os.closerange(3, 100)", SAYS_WHAT_IS_NO_ANSWER])
def test_a_check_ends_whatever_the_process_does_to_its_answers(tmp_path: Path, says: str) -> None:
    with pytest.raises(EnvironmentFault):
        check(f"import os, time\n{says}\ntime.sleep(600)", tmp_path, Policy())

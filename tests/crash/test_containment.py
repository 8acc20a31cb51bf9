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

from jobs.children import Launcher, child_environment
from jobs.containment.confinement import LARGEST_FILE_BYTES, REQUIRED, Kernel, Policy
from jobs.containment.landlock import SCOPES_SINCE, TRUNCATE_SINCE
from jobs.containment.paths import all_but
from jobs.containment.system_calls import number_of
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import BadNetwork, ChildEnded, EnvironmentFault
from jobs.folder import JobFolder
from jobs.orders import Order
from jobs.predictions import NetworkChecks, Predictions
from jobs.processes import KILLED_BY_WATCH, needs_of_worker, start_worker
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import Store
from jobs.worker import WorkerJob
from tests.conftest import until
from tests.crash.conftest import store_with_dataset
from tests.crash.escape import escaping_network, what_it_could
from tests.unit.digits_jobs import DATASET, events_of, make_dataset, model_job
from webapp.cli import check_sandbox, main
from webapp.config import Settings

MEMORY = 3 * 2**30
# What depends on how the machine is set up, even for a process that is not confined.
DEPENDS_ON_MACHINE = {
    "answers_faults_of_its_memory", "asks_by_other_numbers", "asks_the_kernel_by_a_ring", "becomes_another_user",
    "loads_a_program_into_the_kernel", "makes_a_world_of_its_own", "opens_a_packet_socket", "opens_a_socket_of_the_host",
    "raises_its_limits", "reads_a_memory", "reads_keys", "shares_memory_by_a_file", "signals_by_descriptor",
    "takes_thousands_of_descriptors", "traces_a_process",
}  # fmt: skip
# What an attempt asks the kernel for by its number.
CALLS = (
    "bpf", "clone", "fcntl", "inotify_add_watch", "inotify_init1", "io_uring_setup", "keyctl", "pidfd_open",
    "process_vm_readv", "ptrace", "shmctl", "shmget", "tgkill", "unshare", "userfaultfd",
)  # fmt: skip
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
            calls={name: number_of(name) for name in CALLS},
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
    assert len(tried) > 60
    assert could == set()


@pytest.mark.parametrize("version", [TRUNCATE_SINCE, SCOPES_SINCE - 1])
def test_it_cannot_get_out_on_an_older_kernel_either(surroundings: Surroundings, version: int) -> None:
    """Where Landlock keeps no signals and no sockets in their place, seccomp has to."""
    kernel = Kernel(landlock=min(version, Kernel().landlock))
    assert what_it_could(in_a_check(surroundings, surroundings.policy(kernel=kernel)))[1] == set()


def test_without_confinement_all_of_that_can_be_done(surroundings: Surroundings) -> None:
    """So that the test above cannot pass because its attempts are wrong."""
    message = in_a_check(surroundings, surroundings.policy(mode="off"))
    tried, could = what_it_could(message)
    assert could.isdisjoint(NEVER)
    assert tried - could <= NEVER | DEPENDS_ON_MACHINE


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


IN_A_HIDING_CONTAINER = """
import os
from pathlib import Path
from jobs.containment.confinement import Policy
from jobs.processes import try_out
from jobs.worker_identity import WorkerIdentity

assert not list(Path("/proc/sys").iterdir())
worker = WorkerIdentity.of(os.getpid())
assert worker is not None and WorkerIdentity.parse(str(worker)).facts() is not None
assert try_out(Policy(), Path.cwd()).missing == []
"""


def test_a_container_that_hides_the_settings_of_the_kernel_does_not_matter(tmp_path: Path) -> None:
    hiding = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec",
              'mount -t tmpfs tmpfs /proc/sys; mount -t tmpfs tmpfs /sys; exec "$0" "$@"']  # fmt: skip
    try:
        possible = subprocess.run([*hiding, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("There is no command unshare here.")
    if possible.returncode:
        pytest.skip(f"No container can be made here: {possible.stderr.strip()}")
    command = [*hiding, sys.executable, "-c", IN_A_HIDING_CONTAINER]
    said = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert said.returncode == 0, said.stderr


def test_who_wants_too_much_memory_is_told_how_much_there_is(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, custom_network="import torch\ntorch.ones(2**31)")
    policy = Policy(memory=MEMORY)
    assert start_worker(job.folder, job.spec, "cpu", Launcher(policy=policy)).wait(60) == 1
    assert "more memory than the 3 GiB that it may have" in events_of(job, "failed")[0]["cause"]
    with pytest.raises(BadNetwork, match=r"more memory than it may have, 3 GiB \(--memory-limit\)"):
        check("import torch\ntorch.ones(2**31)", tmp_path, policy)


FILLS_MEMORY = """
import ctypes, mmap, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
def taken(size, protection):
    return libc.mmap(None, ctypes.c_size_t(size), protection, 0x4022, -1, ctypes.c_long(0))
"""
# Pages that nobody may write any more are not counted; nor are those of a stack, whose pieces can be moved and grow anew.
MAKES_READ_ONLY = """
for _ in range(10):
    part = taken(2**28, 3)
    ctypes.memset(part, 1, 2**28)
    libc.mprotect(ctypes.c_void_p(part), ctypes.c_size_t(2**28), 1)
"""
MOVES_ITS_STACK = """
libc.mremap.restype = ctypes.c_void_p
line = next(line for line in open("/proc/self/maps") if "[stack]" in line)
low, high = (int(number, 16) for number in line.split()[0].split("-"))
for page in range(low, high - 6 * 2**20, -4096):
    ctypes.c_byte.from_address(page).value = 1
page, space = high - 6 * 2**20, taken(4 * 2**30, 0)
libc.munmap(ctypes.c_void_p(space), ctypes.c_size_t(4 * 2**30))
for number in range(1, 360):
    end = space + number * 10 * 2**20
    libc.mremap(ctypes.c_void_p(page + 4096 * number), ctypes.c_size_t(4096), ctypes.c_size_t(4096), 3, ctypes.c_void_p(end))
    for place in range(end - 4096, end - 1900 * 4096, -4096):
        ctypes.c_byte.from_address(place).value = 1
"""


@pytest.mark.parametrize("way", [MAKES_READ_ONLY, MOVES_ITS_STACK], ids=["read-only pages", "pieces of the stack"])
def test_who_gets_memory_past_its_limit_is_ended(tmp_path: Path, way: str) -> None:
    with pytest.raises(ChildEnded, match="held more memory than it may"):
        check(f"{FILLS_MEMORY}{way}time.sleep(600)", tmp_path, Policy(memory=2**30))


STARTS_A_WORKER = """
import sys
from pathlib import Path
from jobs.children import Launcher
from jobs.containment.confinement import Policy
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import Store

jobs_dir, job_id, memory = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(jobs_dir / "store.sqlite")
scheduler = Scheduler(jobs_dir, store, Resources(), Launcher(policy=Policy(memory=memory)))
while store.get(job_id).status is not Status.RUNNING:
    scheduler.poll()
"""


def test_a_worker_that_another_server_started_is_ended_past_its_limit_too(tmp_path: Path) -> None:
    store = store_with_dataset(tmp_path)
    launcher = Launcher(policy=Policy(memory=2**30))
    scheduler = Scheduler(tmp_path, store, Resources(), launcher)
    waits = "import os\nwhile not os.path.exists('go'):\n    time.sleep(0.02)"
    network = f"{FILLS_MEMORY}{waits}{MAKES_READ_ONLY}time.sleep(600)"
    job_id = scheduler.submit(model_job(tmp_path, custom_network=network).spec)
    other = [sys.executable, "-c", STARTS_A_WORKER, str(tmp_path), job_id, str(2**30)]
    subprocess.run(other, check=True, timeout=60)
    scheduler.poll()
    taken_up = scheduler.workers.known[job_id]
    assert taken_up.process is None
    (scheduler.folder(job_id).path / "go").touch()
    # Each of its workers imports torch, and fills gigabytes.
    until(lambda: scheduler.poll() or store.get(job_id).status is Status.ERROR, 180)
    assert (store.get(job_id).cause or "").startswith(KILLED_BY_WATCH)
    assert launcher.memory_watch.has_ended(taken_up.identity)
    store.close()


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


READS = """
import json, sys
from pathlib import Path
def main(arguments):
    seen = [path for path in arguments if Path(path).is_file() and can_read(path)]
    print(json.dumps(seen))
    return 0
def can_read(path):
    try:
        return bool(Path(path).read_bytes())
    except OSError:
        return False
"""


def test_a_dataset_job_reads_no_job_but_those_that_its_form_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decodes strangers' pictures by native code: what takes hold of that must not find other people's."""
    settings = Settings(tmp_path / "data", (tmp_path,), memory_limit=MEMORY)
    settings.make_folders()
    names = ("mine", "named", "private")
    mine, named, private = (JobFolder(settings.jobs_dir / f"20250101-000000-{name}") for name in names)
    places = [tmp_path / "open", settings.samples_dir, settings.uploads_dir, mine.path, named.path, private.path]
    for place in places:
        (place / "a").mkdir(parents=True)
        (place / "a" / "0.png").write_text("a picture")
    (tmp_path / "link").symlink_to(private.path)
    folders = {"folder_train": str(named.path / "a"), "has_val_folder": True, "folder_val": str(tmp_path / "link")}
    spec = ImageClassificationDatasetSpec.model_validate({"dataset_name": "x", **folders})
    (tmp_path / "reads.py").write_text(READS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    pictures = [str(place / "a" / "0.png") for place in places]
    needs = needs_of_worker(mine, spec, "cpu", settings.paths)
    environment = child_environment(tmp_path, "cpu")
    order = Order("reads", tuple(pictures), mine.path, environment, needs=needs, wants_torch=False)
    with (tmp_path / "said").open("w+b") as said, Path(os.devnull).open("rb") as nothing:
        child = Launcher(policy=settings.containment).start(order, nothing.fileno(), said.fileno(), said.fileno())
        assert child.wait(60) == 0, (tmp_path / "said").read_text()
    seen = json.loads((tmp_path / "said").read_text())
    assert seen == [str(place / "a" / "0.png") for place in (tmp_path / "open", mine.path, named.path)]


TO_ITS_ANSWERS = """
for number in range(3, 9):
    try:
        os.write(number, {line})
        {again}
    except OSError:
        pass
"""
SAYS_WHAT_IS_NO_ANSWER = TO_ITS_ANSWERS.format(line='b"[]\\n"', again="")
SAYS_MUCH = TO_ITS_ANSWERS.format(line='b"{}"', again='while True: os.write(number, b"x" * 60000)')
SAYS_MUCH_IN_LITTLE = TO_ITS_ANSWERS.format(line='b"[" + b"[]," * 2**17 + b"[]]\\n"', again="")


@pytest.mark.parametrize(("says", "sentence"), [
    ("os.closerange(3, 100)", "closed its output without an answer"),
    (SAYS_WHAT_IS_NO_ANSWER, "said what is no answer"),
    (SAYS_MUCH, "longer than 8 MiB"),
    (SAYS_MUCH_IN_LITTLE, "more than 1,000,000 values"),
])  # fmt: skip
def test_a_check_ends_whatever_the_process_does_to_its_answers(tmp_path: Path, says: str, sentence: str) -> None:
    with pytest.raises(EnvironmentFault, match=sentence):
        check(f"import os, time\n{says}\ntime.sleep(600)", tmp_path, Policy())

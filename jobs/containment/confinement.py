"""Confines this process: what it may read and write, how much it may take, and what it may ask of the kernel."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jobs.containment import landlock
from jobs.containment.limits import (
    GIB,
    give_up_root,
    limit_files,
    limit_memory,
    limit_threads,
    memory_for_children,
)
from jobs.containment.paths import DEVICES, ZERO, all_but, gpu_paths, system_paths
from jobs.containment.seccomp import filter_for, seccomp_is_there
from jobs.errors import EnvironmentFault

Mode = Literal["auto", "require", "off"]

# A snapshot, or a log that nobody cuts.
LARGEST_FILE_BYTES = 64 * GIB
THREADS = Path("/proc/self/task")
SECONDS_FOR_THREADS_TO_END = 1.0


@dataclass(frozen=True)
class Kernel:
    """What this machine's kernel offers."""

    landlock: int = field(default_factory=landlock.landlock_version)
    seccomp: bool = field(default_factory=seccomp_is_there)


@dataclass(frozen=True)
class Policy:
    """What a server says for all its children. `hidden` is its data directory: of that they get what their order names."""

    mode: Mode = "auto"
    memory: int = field(default_factory=memory_for_children)
    hidden: Path | None = None
    kernel: Kernel = field(default_factory=Kernel)


@dataclass(frozen=True)
class Needs:
    """What one child needs for its work, beside what all need. What it may write it may also read; of `roots` it gets
    nothing that is hidden.
    """

    reads: Sequence[Path] = ()
    writes: Sequence[Path] = ()
    roots: Sequence[Path] = ()
    starts_processes: bool = False
    gpu: bool = False
    largest_file: int = LARGEST_FILE_BYTES


@dataclass(frozen=True)
class Protection:
    """Something that a child cannot do, or the reason why nobody keeps it from that."""

    name: str
    in_force: bool
    text: str


@dataclass(frozen=True)
class Confinement:
    """What a child applies to itself, as its order says it."""

    policy: Policy
    needs: Needs

    def as_json(self) -> dict[str, Any]:
        return {"policy": _with_text_paths(asdict(self.policy)), "needs": _with_text_paths(asdict(self.needs))}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Confinement":
        policy, needs = value["policy"], value["needs"]
        return cls(
            Policy(
                mode=policy["mode"],
                memory=policy["memory"],
                hidden=None if policy["hidden"] is None else Path(policy["hidden"]),
                kernel=Kernel(**policy["kernel"]),
            ),
            Needs(**needs | {name: [Path(path) for path in needs[name]] for name in ("reads", "writes", "roots")}),
        )

    def allowed(self) -> Iterator[tuple[Path, landlock.Access]]:
        """Every path that is left to the child."""
        hidden = self.policy.hidden
        # Python itself may lie where jobs do, if somebody has put it there.
        open_roots = [root for root in self.needs.roots if hidden is None or not root.resolve().is_relative_to(hidden)]
        for path in [*system_paths(), *open_roots]:
            for part in [path] if hidden is None else all_but(hidden, path):
                yield part, landlock.READ
        for device in [*map(Path, DEVICES), *(gpu_paths() if self.needs.gpu else ())]:
            yield device, landlock.DEVICE
        # On a GPU no limit counts memory, and what its driver does with the pages of zero is its own business.
        yield ZERO, landlock.DEVICE if self.needs.gpu else landlock.READ
        for path in self.needs.reads:
            yield path, landlock.READ
        for path in self.needs.writes:
            yield path, landlock.WRITE


def _with_text_paths(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _with_text_paths(part) for key, part in value.items()}
    return [_with_text_paths(part) for part in value] if isinstance(value, (list, tuple)) else value


# Of this process, told once: whoever runs in it later cannot take it back.
_in_force: list[Protection] = []


def protections() -> list[Protection]:
    """What keeps this process in its place, and what does not; nothing where nobody has confined it."""
    return list(_in_force)


def confine(confinement: Confinement) -> None:
    """Confine this process for the rest of its life. EnvironmentFault where the policy requires what cannot be had."""
    if confinement.policy.mode == "off":
        _in_force.append(Protection("confinement", False, "Switched off by the server's option --sandbox off."))
        return
    _in_force.extend(_limits(confinement))
    _in_force.extend(_files(confinement))
    _in_force.extend(_system_calls(confinement))
    _in_force.sort(key=lambda protection: protection.name not in REQUIRED)
    missing = [protection.text for protection in _in_force if protection.name in REQUIRED and not protection.in_force]
    if missing and confinement.policy.mode == "require":
        raise EnvironmentFault(
            f"The server was started with --sandbox require, and this process cannot be contained. {' '.join(missing)}"
        )


REQUIRED = ("files", "network", "processes", "signals", "kernel")
LANDLOCK_IS_MISSING = (
    "It needs Landlock, of Linux 5.13 or newer and switched on (the kernel's option lsm=), which is not to be had here."
)
UNLIMITED_ON_GPU = (
    "On a GPU --memory-limit does not hold: neither the GPU's memory nor the machine's is limited, because CUDA sets aside "
    "more than it uses."
)
SECCOMP_IS_MISSING = "It needs seccomp, on x86-64 or arm64, which is not to be had here."


def _limits(confinement: Confinement) -> Iterator[Protection]:
    policy, needs = confinement.policy, confinement.needs
    limit_files(needs.largest_file)
    yield Protection(
        "file size", True, f"No file that it writes may be larger than {needs.largest_file / GIB:,.5g} GiB."
    )
    if needs.gpu:
        yield Protection("memory", False, UNLIMITED_ON_GPU)
    else:
        limit_memory(policy.memory)
        yield Protection("memory", True, f"It may take {policy.memory / GIB:.3g} GiB.")
    if limit_threads():
        yield Protection("threads", True, "It may make some thousands.")
    else:
        yield Protection("threads", False, "Linux does not limit those of root. Run the server as another user.")
    rights = "no rights of root but to reach files" if give_up_root() else "no rights of root"
    yield Protection("privileges", True, f"It has {rights}, and no way to gain any.")


def _files(confinement: Confinement) -> Iterator[Protection]:
    version = confinement.policy.kernel.landlock
    others = extra_threads()
    if not version or others:
        text = LANDLOCK_IS_MISSING if not version else f"It had {others} more threads, which Landlock would not hold."
        yield Protection("files", False, f"It may use any file of the server's user. {text}")
        return
    landlock.restrict_files(version, confinement.allowed())
    if version < landlock.TRUNCATE_SINCE:
        text = "It reads and writes its own files only, but could empty others: that needs Linux 6.2 or newer."
        yield Protection("files", False, text)
    else:
        reads = "the folders of pictures, Python" if confinement.needs.roots else "its dataset, Python"
        yield Protection("files", True, f"It reads {reads} and its own folder, and writes its own folder only.")
    if version >= landlock.SCOPES_SINCE:
        yield Protection("signals", True, "It can end no process that it did not start.")


def extra_threads() -> int:
    """How many threads there are beside this one, when those that are about to end have had time for it."""
    deadline = time.monotonic() + SECONDS_FOR_THREADS_TO_END
    while (count := len(os.listdir(THREADS)) - 1) and time.monotonic() < deadline:  # noqa: PTH208  the least work
        time.sleep(0.001)
    return count


def _system_calls(confinement: Confinement) -> Iterator[Protection]:
    scoped = any(protection.name == "signals" for protection in _in_force)
    starts_processes = confinement.needs.starts_processes
    if not confinement.policy.kernel.seccomp:
        yield Protection("network", False, f"It may reach other machines. {SECCOMP_IS_MISSING}")
        yield Protection("processes", False, f"It may start other programs. {SECCOMP_IS_MISSING}")
        yield Protection("kernel", False, f"It may ask the kernel for anything. {SECCOMP_IS_MISSING}")
        if not scoped:
            yield Protection("signals", False, f"It may end other processes of the server's user. {SECCOMP_IS_MISSING}")
        return
    filter_for(starts_processes, counts_memory=not confinement.needs.gpu).apply()
    yield Protection("network", True, "It reaches no other machine and no service of this one.")
    text = "It starts copies of itself only, no other programs." if starts_processes else "It can start none."
    yield Protection("processes", True, text)
    yield Protection("kernel", True, "It cannot look into other processes, nor use rare parts of the kernel.")
    if not scoped:
        text = "It may end other processes of the server's user: a job that starts some needs Linux 6.12 or newer."
        if not starts_processes:
            text = "It can end no process but itself."
        yield Protection("signals", not starts_processes, text)

"""Limits on memory, files and threads, and the rights of root given up."""

import errno
import os
import resource
import struct
from contextlib import suppress
from pathlib import Path

from jobs.containment.system_calls import PR_CAPBSET_DROP, number_of, set_process, system_call

GIB = 2**30
# More threads than any network has use for, beside those that the machine has when the child begins.
MORE_THREADS = 4096
# Pipes and sockets have buffers, which no limit of memory counts.
MOST_DESCRIPTORS = 4096
# Left to the server and the system.
MEMORY_LEFT_OVER = 0.1

# include/uapi/linux/capability.h: the version with 64 capabilities, and the two that let root read what others own.
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
KEPT_CAPABILITIES = (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)
MOST_CAPABILITIES = 64


def memory_for_children(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """How much memory a child on the CPU may take unless the server was told: most of what the machine or the container has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        total = min(total, int((cgroup / "memory.max").read_text()))
    return int(total * (1 - MEMORY_LEFT_OVER))


def set_limit(kind: int, wanted: int) -> None:
    """Lower a limit of this process for good; one that is lower already stays."""
    _soft, hard = resource.getrlimit(kind)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (limit, limit))


def limit_memory(limit: int) -> None:
    # Of what is set aside for writing, not of addresses: libraries and the datasets' arrays are mapped beside it.
    set_limit(resource.RLIMIT_DATA, limit)


def memory_limit(pid: int = 0) -> int | None:
    """How much a process of this user, or this one, may set aside; None without a limit. OSError where it has ended."""
    limit, _hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit


def limit_files(largest: int) -> None:
    set_limit(resource.RLIMIT_CORE, 0)
    set_limit(resource.RLIMIT_FSIZE, largest)
    set_limit(resource.RLIMIT_NOFILE, MOST_DESCRIPTORS)


def limit_threads() -> bool:
    """Limit how many threads this user may have; whether the kernel holds it: it does not for root."""
    # "0.20 0.18 0.12 1/80 11206": how many run, and how many there are.
    tasks = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    set_limit(resource.RLIMIT_NPROC, tasks + MORE_THREADS)
    return os.getuid() != 0


def give_up_root() -> bool:
    """Without what lets root do as it likes, but to reach files; whether there was any of that: other users never had it."""
    for capability in range(MOST_CAPABILITIES):
        if capability in KEPT_CAPABILITIES:
            continue
        try:
            set_process(PR_CAPBSET_DROP, capability)
        except OSError as error:
            # Who may not drop any has no program to gain one by; or the kernel knows no more of them.
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            break
    kept = _effective_capabilities() & sum(1 << capability for capability in KEPT_CAPABILITIES)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    sets = struct.pack("=6I", kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0, 0, 0, 0)
    number = number_of("capset")
    if number is not None:
        system_call(number, header, sets)
    return kept != 0


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0

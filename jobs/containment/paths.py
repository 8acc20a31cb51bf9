"""Which files every child needs, whatever its job is: of the system, of Python, and of GPUs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Nothing below /etc but what libraries read on their way: keys and passwords lie there, too.
SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone",
    "/etc/fonts", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf",
    "/etc/os-release", "/var/cache/fontconfig",
    # Itself, and the machine: of other processes nothing.
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/vmstat", "/proc/zoneinfo", "/proc/uptime",
    "/proc/loadavg", "/proc/version", "/proc/filesystems", "/proc/devices", "/proc/modules", "/proc/driver", "/proc/sys",
    "/sys/devices", "/sys/bus", "/sys/class", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
# Who may write it can share its pages, which are memory that no limit counts.
ZERO = Path("/dev/zero")
# NVIDIA (nvidia0, nvidiactl, nvidia-uvm, nvidia-caps …), AMD, and NVIDIA within Windows' Linux.
GPU_DEVICES = ("nvidia*", "dri", "kfd", "dxg")
GPU_SERVICES = ("/run/nvidia-persistenced", "/run/nvidia-topologyd")
# Where the environment says that libraries are.
LIBRARY_VARIABLES = ("LD_LIBRARY_PATH", "CUDA_HOME", "VIRTUAL_ENV")


def system_paths() -> list[Path]:
    """What is read by any program in Python that uses our libraries."""
    of_environment = [
        path for name in LIBRARY_VARIABLES for path in os.environ.get(name, "").split(":") if Path(path).is_absolute()
    ]
    places = [*SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path), *of_environment]
    return [Path(place) for place in dict.fromkeys(places)]


def gpu_paths() -> list[Path]:
    return [*(path for pattern in GPU_DEVICES for path in Path("/dev").glob(pattern)), *map(Path, GPU_SERVICES)]


def all_but(hidden: Path, path: Path) -> Iterator[Path]:
    """`path`; where `hidden` lies in it, what else lies beside that, since Landlock gives a folder with all that is in it."""
    yield from _beside(hidden, Path(os.path.realpath(path)))


def _beside(hidden: Path, path: Path) -> Iterator[Path]:
    if not hidden.is_relative_to(path):
        yield path
        return
    if hidden == path:
        return
    try:
        inside = list(path.iterdir())
    except OSError:
        return
    for entry in inside:
        real = Path(os.path.realpath(entry))
        # Landlock follows a link, and so would give what is hidden.
        if real == entry or not (hidden.is_relative_to(real) or real.is_relative_to(hidden)):
            yield from _beside(hidden, entry)

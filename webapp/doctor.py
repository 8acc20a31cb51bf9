"""What this machine offers to Layerscope, for `layerscope doctor`."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.containment.confinement import Kernel
from jobs.containment.limits import GIB
from jobs.errors import EnvironmentFault
from jobs.processes import Trial, try_out
from jobs.resources import Gpu, installed_gpus
from webapp.config import VERSION, Settings

State = Literal["good", "lacks", "fails"]
LITTLE_SPACE_BYTES = 2 * GIB


@dataclass(frozen=True)
class Finding:
    """Something of the machine: `lacks` where Layerscope runs without it, `fails` where it cannot."""

    what: str
    state: State
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything; takes some seconds, since torch is tried."""
    yield Finding("Layerscope", "good", f"{VERSION}, with Python {platform.python_version()}.")
    yield _data_directory(settings.data_dir)
    cores = len(os.sched_getaffinity(0))
    yield Finding("Cores", "good", f"{cores} for trainings and datasets.")
    yield Finding("Memory", "good", f"{settings.memory_limit / GIB:.3g} GiB for a job on the CPU (--memory-limit).")
    gpus = installed_gpus()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            trial = try_out(settings.containment, Path(scratch), "--torch", gpu=bool(gpus))
    except (OSError, EnvironmentFault) as error:
        yield Finding("torch", "fails", f"It cannot be used: {error}")
        return
    yield Finding("torch", "good", f"{trial.torch}, {f'with CUDA {trial.cuda}' if trial.cuda else 'for CPUs only'}.")
    yield _gpus(gpus, trial)
    yield from _containment(trial)


def _data_directory(path: Path) -> Finding:
    # It may be made when the server first starts.
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("Data", "fails", f"{path} cannot be written: {error.strerror}. Name another with --data-dir.")
    free = shutil.disk_usage(there).free
    state: State = "good" if free >= LITTLE_SPACE_BYTES else "lacks"
    return Finding("Data", state, f"{path} can be written and has {free / GIB:,.3g} GiB free.")


def _gpus(gpus: list[Gpu], trial: Trial) -> Finding:
    if not gpus:
        return Finding("GPUs", "lacks", "None of NVIDIA's is found: trainings run on the CPU.")
    names = ", ".join(gpu.name for gpu in gpus)
    if trial.gpus < len(gpus):
        text = f"{names}; torch can use {trial.gpus} of them. Is its build for CUDA, and new enough for the driver?"
        return Finding("GPUs", "lacks", text)
    return Finding("GPUs", "good", f"{names}.")


def _containment(trial: Trial) -> Iterator[Finding]:
    kernel = Kernel()
    text = (
        f"Version {kernel.landlock}." if kernel.landlock else "Not there: Linux 5.13 or newer has it, if switched on."
    )
    yield Finding("Landlock", "good" if kernel.landlock else "lacks", text)
    yield Finding("seccomp", "good" if kernel.seccomp else "lacks", "There." if kernel.seccomp else "Not there.")
    for protection in trial.protections:
        name = f"Contained: {protection.name}"
        yield Finding(name, "good" if protection.in_force else "lacks", protection.text)

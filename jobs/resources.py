"""What the machine can run at once: one training a GPU, or one on the CPU when there is none."""

from collections.abc import Iterable
from dataclasses import dataclass

import pynvml

from jobs.store import JobRecord

DATASET_JOBS_AT_ONCE = 2


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str


def installed_gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine; none when there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [Gpu(index, str(pynvml.nvmlDeviceGetName(handle))) for index, handle in enumerate(handles)]
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True)
class Resources:
    """Says which device a waiting job may have. Keeps nothing: who has what stands in the running jobs' rows."""

    gpus: tuple[Gpu, ...] = ()

    def device_for(self, job: JobRecord, wanted: str, running: Iterable[JobRecord]) -> str | None:
        """The device ("cpu" or "gpu N") that `job` may have now; None when it has to wait.

        `wanted` is "next", "cpu" or the index of a GPU. A GPU that does not exist (any more) counts as "next".
        """
        running = list(running)
        if job.family == "dataset":
            datasets = sum(other.family == "dataset" for other in running)
            return "cpu" if datasets < DATASET_JOBS_AT_ONCE else None
        taken = {other.device for other in running if other.family == "model"}
        indexes = [gpu.index for gpu in self.gpus]
        if wanted.isdigit() and int(wanted) in indexes:
            indexes = [int(wanted)]
        devices = ["cpu"] if wanted == "cpu" or not indexes else [f"gpu {index}" for index in indexes]
        return next((device for device in devices if device not in taken), None)

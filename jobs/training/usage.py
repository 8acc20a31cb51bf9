"""What the training process takes of the machine: processor, memory and GPU."""

from typing import Any

import psutil
import pynvml
import torch


class UsageMeter:
    """Reads the fields of the `usage` event."""

    def __init__(self, device: torch.device) -> None:
        self._process = psutil.Process()
        # The first reading has nothing to compare with and is 0; this is it.
        self._process.cpu_percent()
        self._gpu = _gpu_handle(device)

    def read(self) -> dict[str, Any]:
        """`cpu_percent` is 100 for one core that is busy all the time."""
        return {
            "cpu_percent": round(self._process.cpu_percent(), 1),
            "memory_bytes": self._process.memory_info().rss,
            "memory_total": psutil.virtual_memory().total,
            "gpu": None if self._gpu is None else _read_gpu(self._gpu),
        }


def _gpu_handle(device: torch.device) -> Any:
    """NVML's name for the GPU, found by its UUID: NVML does not follow CUDA_VISIBLE_DEVICES. None without one."""
    if device.type != "cuda":
        return None
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError as error:
        print(f"The GPU's use cannot be read: {error}")
        return None


def _read_gpu(handle: Any) -> dict[str, Any] | None:
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            "name": pynvml.nvmlDeviceGetName(handle),
            "memory_used": memory.used,
            "memory_total": memory.total,
            "utilization": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "temperature": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        }
    except pynvml.NVMLError as error:
        print(f"The GPU's use cannot be read: {error}")
        return None

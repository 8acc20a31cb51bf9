"""A child that only says what protects it, and what torch can do then: `main` of [--torch], its answer is JSON on stdout."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from jobs.containment.confinement import protections


def main(arguments: Sequence[str]) -> int:
    said: dict[str, Any] = {"protections": [asdict(protection) for protection in protections()]}
    if "--torch" in arguments:
        import torch  # noqa: PLC0415  takes seconds

        said |= {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": torch.cuda.device_count()}
    print(json.dumps(said))
    return 0

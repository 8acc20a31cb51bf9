"""Makes torchvision importable beside a CPU build of torch."""

import importlib
from types import ModuleType

import torch

# The operators that torchvision's Python half insists on when it is imported.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Its end would take the schemas away again.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The module torchvision; its submodules can be imported from then on.

    PyPI's wheels of torchvision have their compiled half linked to CUDA. Beside a CPU build of torch it does not load,
    and the import stops at the first operator that is missing. We then declare those operators, without a body:
    everything in Python works, and `nms` does not. Where the compiled half loads, nothing is declared, because to
    declare an operator twice ends the process.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return importlib.import_module("torchvision")

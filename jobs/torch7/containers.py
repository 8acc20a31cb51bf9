"""Torch's modules that are made of modules: in a row, side by side, or one for every table entry."""

from torch import nn

from jobs.torch7.module import Container, describe, indented, torch_class
from jobs.torch7.shapes import Value


def members(container: nn.Module) -> list[nn.Module]:
    """The modules in their order. `children()` would leave out one that is there a second time."""
    return [module for module in container._modules.values() if module is not None]


@torch_class("Sequential")
class Sequential(Container):
    def forward(self, input: Value) -> Value:
        for module in members(self):
            input = module(input)
        return input

    def described(self) -> str:
        parts = members(self)
        way = " -> ".join(["input", *(f"({number})" for number in range(1, len(parts) + 1)), "output"])
        lines = [f"{self.torch_name} {{", f"  [{way}]"]
        lines += [f"  ({number}): {indented(describe(part))}" for number, part in enumerate(parts, 1)]
        return "\n".join([*lines, "}"])

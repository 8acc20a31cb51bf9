"""nngraph's networks: modules as the nodes of a graph."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from jobs.torch7.module import Container, members
from jobs.torch7.shapes import Value


class GraphModule(Container):
    """Modules in an order in which each comes after those that feed it. Nodes are numbered from 0.

    A node with one parent gets what that gives, one with several a table of it. The graph gives the value of its one
    output node, or a table of those of several.
    """

    torch_name = "nn.gModule"
    # What the text calls it, by which Torch prints it.
    name: str | None = None

    def __init__(
        self,
        children: Sequence[nn.Module],
        parents: Sequence[Sequence[int]],
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> None:
        super().__init__(children, parents, inputs, outputs)
        self.parents = [tuple(of_node) for of_node in parents]
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        for node, of_node in enumerate(self.parents):
            if any(parent >= node for parent in of_node):
                raise ValueError(f"node {node + 1} of the graph comes before one that feeds it")

    def described(self) -> str:
        return self.name or self.torch_name

    def forward(self, input: Value) -> Value:
        given = self._given(input)
        values: list[Any] = []
        for node, module in enumerate(members(self)):
            fed = [values[parent] for parent in self.parents[node]] + given.get(node, [])
            if not fed:
                raise ValueError(f"node {node + 1} of the graph has no input: it is not among those of nn.gModule")
            values.append(module(fed[0] if len(fed) == 1 else fed))
        found = [values[node] for node in self.outputs]
        return found[0] if len(found) == 1 else found

    def _given(self, input: Value) -> dict[int, list[Any]]:
        """What each input node gets from outside."""
        values = [input] if len(self.inputs) == 1 else input
        if not isinstance(values, list | tuple) or len(values) != len(self.inputs):
            got = len(values) if isinstance(values, list | tuple) else "a tensor"
            raise ValueError(f"Number of inputs do not match my graph: expecting {len(self.inputs)} inputs, got {got}")
        return {node: [value] for node, value in zip(self.inputs, values, strict=True)}

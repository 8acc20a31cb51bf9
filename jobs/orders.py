"""What goes over the socket between the server and a process that waits for its order."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from jobs.containment.confinement import Confinement, Needs, Policy

# What a prepared child says when it has imported everything.
READY = b"ready"
# Longer than any order, and than what a child says when it begins.
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Order:
    """What a child is to do: call `main(arguments)` of a module, in this folder and environment, and with what it `needs`.

    The numbers that the `kept` descriptors have in the child are added to its arguments.
    """

    module: str
    arguments: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    kept: tuple[int, ...] = ()
    needs: Needs = field(default_factory=Needs)
    wants_torch: bool = True

    def as_json(self, policy: Policy) -> bytes:
        order = {"module": self.module, "arguments": self.arguments, "environment": self.environment}
        confinement = Confinement(policy, self.needs).as_json()
        return json.dumps(order | {"folder": str(self.folder), "confinement": confinement}).encode()

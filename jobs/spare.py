"""The process that waits for work with torch imported: `python -P -m jobs.spare LOG DESCRIPTOR OF ITS ORDERS`.

It knows nothing of any job until its order comes, by `jobs.children`, and then is the child that the order asks for.
It removes its log when it has taken the order: as long as that is there, nothing of the order is done.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

MOST_BYTES = 1_000_000
MOST_DESCRIPTORS = 8


def main(arguments: Sequence[str]) -> int:
    said = Path(arguments[0])
    with socket.socket(fileno=int(arguments[1])) as orders:
        os.set_inheritable(orders.fileno(), False)
        _import_everything()
        message, descriptors, _flags, _address = socket.recv_fds(orders, MOST_BYTES, MOST_DESCRIPTORS)
    if not message:
        # The server has gone.
        said.unlink(missing_ok=True)
        return 0
    order = json.loads(message)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    said.unlink(missing_ok=True)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    status: int = import_module(order["module"]).main([*order["arguments"], *map(str, descriptors[3:])])
    return status


def _import_everything() -> None:
    for name in ("jobs.worker", "jobs.network_check", "jobs.predictor", "jobs.training.job"):
        import_module(name)
    import torch  # noqa: PLC0415

    # The first optimizer of a process imports torch's compiler, a second's work.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

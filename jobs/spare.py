"""The process that waits for work with torch imported: `python -P -m jobs.spare LOG DESCRIPTOR OF ITS ORDERS`.

It knows nothing of any job until its order comes, by `jobs.children`, and then is the child that the order asks for.
It says once that it is ready, and gets no order before. It removes its log when it has taken the order: as long as that is
there, nothing of the order is done.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from jobs.children import READY

AUTOGROUP = Path("/proc/self/autogroup")
SECONDS_TO_BE_HEARD = 10.0
MOST_BYTES = 1_000_000
MOST_DESCRIPTORS = 8


def main(arguments: Sequence[str]) -> int:
    said = Path(arguments[0])
    with socket.socket(fileno=int(arguments[1])) as orders:
        os.set_inheritable(orders.fileno(), False)
        # NumPy makes threads, which would keep the policy of the thread that imports it.
        import_module("numpy")
        with ThreadPoolExecutor(1, "imports") as imports:
            imports.submit(_get_ready, orders).result()
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


def _get_ready(orders: socket.socket) -> None:
    with _in_idle_time():
        for name in ("jobs.worker", "jobs.network_check", "jobs.predictor", "jobs.training.job"):
            import_module(name)
        import torch  # noqa: PLC0415

        # The first optimizer of a process imports torch's compiler, a second's work.
        torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()
    orders.send(READY)


@contextmanager
def _in_idle_time() -> Iterator[None]:
    """Take only time that nobody else wants: the threads of a training wait for each other busily, and lose several times
    what one of them is robbed of.

    The policy is this thread's own, and ends with it. Where Linux shares the processor out among sessions first
    (autogroup, sched(7)), the policy counts inside of this session only: then the session must step back.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        _set_niceness_of_session(19)
    except OSError as error:
        # Another kernel, or a container that may not write there.
        print(f"The session keeps its place: {error}.")
        yield
        return
    yield
    _set_niceness_of_session(0)


def _set_niceness_of_session(niceness: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_BE_HEARD
    while True:
        try:
            AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:
            # Linux takes one such wish in a tenth of a second, from everybody together.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

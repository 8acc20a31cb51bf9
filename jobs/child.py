"""What every child is first: `python -P -m jobs.child DESCRIPTOR OF ITS ORDERS [--prepared]`.

It knows nothing of any job until its order (`jobs.orders`) comes. Then it confines itself as the order says, tells what
protects from it, and is from then on the child that the order asks for. A prepared one has imported torch before; it
says once that it is ready, and gets no order before.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from jobs.containment.confinement import Confinement, confine, extra_threads, protections
from jobs.orders import MOST_BYTES, READY

AUTOGROUP = Path("/proc/self/autogroup")
SECONDS_TO_BE_HEARD = 10.0
MOST_DESCRIPTORS = 8
# Each of a second. Nobody waits for a spare.
MOST_WAITS_FOR_THREADS = 60


def main(arguments: Sequence[str]) -> int:
    with socket.socket(fileno=int(arguments[0])) as orders:
        os.set_inheritable(orders.fileno(), False)
        if "--prepared" in arguments:
            # NumPy makes threads, which would keep the policy of the thread that imports it.
            import_module("numpy")
            with ThreadPoolExecutor(1, "imports") as imports:
                imports.submit(_import_in_idle_time).result()
            _wait_for_threads()
            orders.send(READY)
        message, descriptors, _flags, _address = socket.recv_fds(orders, MOST_BYTES, MOST_DESCRIPTORS)
        if not message:
            # The server has gone.
            return 0
        order = json.loads(message)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        confine(Confinement.from_json(order["confinement"]))
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        # Who started it may have gone meanwhile; the work goes on.
        with suppress(BrokenPipeError):
            orders.send(json.dumps([asdict(protection) for protection in protections()]).encode())
    status: int = import_module(order["module"]).main([*order["arguments"], *map(str, descriptors[3:])])
    return status


def _wait_for_threads() -> None:
    """The thread that imported has told all, and may wait for the idle time in which to end: Landlock would not hold it."""
    for _ in range(MOST_WAITS_FOR_THREADS):
        if not extra_threads():
            return


def _import_in_idle_time() -> None:
    with _in_idle_time():
        for name in ("jobs.worker", "jobs.network_check", "jobs.predictor", "jobs.training.job"):
            import_module(name)
        import torch  # noqa: PLC0415

        # The first optimizer of a process imports torch's compiler, a second's work.
        torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()


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

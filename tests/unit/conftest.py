"""What a test of the work leaves behind in its process."""

import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def same_weights_whatever_ran_before() -> None:
    """A network that a test makes has the weights of one seed, or chance would decide on what its units do."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def processor_as_it_was() -> Iterator[None]:
    """A training makes the processor take the smallest numbers for zero. The tests after it count with them.

    Beside other tests each keeps to one thread: the threads of one training wait busily for those that get no core.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)

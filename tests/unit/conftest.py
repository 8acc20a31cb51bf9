"""What a test of the work leaves behind in its process."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def processor_as_it_was() -> Iterator[None]:
    """A training makes the processor take the smallest numbers for zero. The tests after it count with them."""
    yield
    torch.set_flush_denormal(False)

"""Whatever plain things a network keeps come out of a file as they went in, are read without running anything, and share
what they shared."""

import io
import random
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jobs.training.plain_values import CannotBeKept, Owned, Putter, Taker


def owned(model: nn.Module | None = None) -> Owned:
    return Owned([] if model is None else model.named_modules(prefix="model"))


def through_a_file(value: Any, present: Any = None, model: nn.Module | None = None) -> Any:
    """The value as another worker has it, which finds `present` in its place."""
    taker = Taker(owned(model))
    part = taker.take_or_raise(value)
    file = io.BytesIO()
    torch.save({"part": part, "nodes": taker.nodes}, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    return Putter(content["nodes"], owned(model)).put(content["part"], present)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1, "text", 2**70, -(10**1000), 1j, b"", b"bytes", bytearray(b"more"), (), [], {}, set(),
        [1, (2, 2**70), (1, "a"), [2, (3, {4})], {"five": 6, (7, "8"): None}], frozenset({1, "a"}), torch.Size([2, 3]),
        OrderedDict(b=1, a=2), defaultdict(list, {"a": [1]}), deque([1, 2], 5),
        np.float32(0.1), np.int64(-3), np.bool_(True), np.str_("text"), np.datetime64("2026-01-01"), np.complex64(1j),
    ],
)  # fmt: skip
def test_what_goes_in_comes_out(value: Any) -> None:
    found = through_a_file(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.zeros((0, 2)), np.array(3), np.arange(6).reshape(2, 3).T]
)
def test_arrays_come_out_with_their_layout(array: Any) -> None:
    found = through_a_file(array)
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.flags.f_contiguous, found.flags.writeable) == (
        array.dtype,
        array.flags.f_contiguous,
        True,
    )


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(2, 3), torch.zeros(0, 2), torch.tensor(True), torch.rand(3, dtype=torch.bfloat16),
        torch.rand(1, 1).expand(4, 4),
        torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.rand(2, dtype=torch.complex64).conj(),
        torch.rand(2, requires_grad=True), (torch.rand(2, requires_grad=True) * 2).detach(),
    ],
)  # fmt: skip
def test_tensors_come_out_without_their_history(tensor: Tensor) -> None:
    found = through_a_file(tensor)
    assert torch.equal(found, tensor)
    assert found.requires_grad == tensor.requires_grad
    if tensor.dim() == 4:
        assert found.stride() == tensor.stride()


def test_generators_draw_on() -> None:
    python, numpy, legacy = random.Random(1), np.random.default_rng(1), np.random.RandomState(1)
    bits, ours = np.random.SFC64(2), torch.Generator().manual_seed(3)
    python.gauss(0, 1), legacy.normal(), numpy.integers(5, dtype=np.uint32)
    found = through_a_file([python, numpy, legacy, bits, ours])
    assert found[0].gauss(0, 1) == python.gauss(0, 1)
    assert found[1].integers(5, size=9, dtype=np.uint32).tolist() == numpy.integers(5, size=9, dtype=np.uint32).tolist()
    assert found[2].normal() == legacy.normal()
    assert found[3].random_raw() == bits.random_raw()
    assert torch.equal(torch.rand(2, generator=found[4]), torch.rand(2, generator=ours))


def test_a_generator_that_is_there_is_put_where_the_other_was() -> None:
    before, there = np.random.default_rng(1), np.random.default_rng(1)
    bits = there.bit_generator
    before.random(5)
    assert through_a_file(before, there) is there
    assert there.bit_generator is bits
    assert there.random() == before.random()


def test_what_is_shared_is_shared_again_also_with_what_is_there() -> None:
    inner: list[Any] = [1]
    value = {"a": inner, "b": inner}
    inner.append(value)
    there: dict[str, Any] = {"a": [0, 0, 0], "c": 5}
    held = there["a"]
    found = through_a_file(value, there)
    assert found is there
    assert found["a"] is found["b"] is held
    assert held == [1, found]
    assert list(found) == ["a", "b"]


def test_two_that_were_one_in_the_text_and_are_two_now_stay_two() -> None:
    tensor, array, numbers = torch.zeros(2), np.zeros(2), [0]
    there = [tensor, tensor, array, array[:1], numbers, numbers]
    values = [torch.ones(2), torch.full((2,), 2.0), np.ones(2), np.full(1, 2.0), [1], [2]]
    found = through_a_file(values, there)
    assert [value[0] for value in found] == [1, 2, 1, 2, 1, 2]


def test_a_part_of_a_tensor_stays_one_where_the_text_makes_it_so() -> None:
    def made(value: float) -> list[Tensor]:
        whole = torch.full((4,), value)
        return [whole, whole[:2]]

    found = through_a_file(made(2), made(1))
    found[0][0] = 5
    assert found[1][0] == 5


def test_weights_are_named_and_never_written_over() -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    average = model.weight.detach() * 2
    values = {"own": [model.weight, model], "seen": model.weight.t().detach(), "average": average}
    found = through_a_file(values, {"average": model.weight.detach()}, model)
    assert found["own"][0] is model.weight
    assert found["own"][1] is model
    assert found["seen"].data_ptr() == model.weight.data_ptr()
    assert torch.equal(found["seen"], model.weight.t())
    assert torch.equal(found["average"], average)
    assert torch.equal(model.weight, before)


def test_what_was_a_part_of_weights_that_are_not_there_or_are_smaller_is_left_as_it_is() -> None:
    large, small = nn.Linear(3, 3), nn.Linear(2, 2, bias=False)
    taker = Taker(owned(large))
    part = taker.take_or_raise([large.weight.detach()[2:], large.bias, large.bias.detach(), large.weight.detach()[:1]])
    found = Putter(taker.nodes, owned(small)).put(part, ["there"])
    assert found[:3] == ["there", None, None]
    assert found[3].data_ptr() == small.weight.data_ptr()


class Own:
    pass


def containing_itself() -> tuple[Any, ...]:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        Own(), [1, Own()], {Own(): 1}, len, lambda: None, nn.Linear(1, 1), np.array([Own()]), torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"), random.SystemRandom(), defaultdict(lambda: 1), containing_itself(), deep(),
        torch.rand(2, requires_grad=True) * 2, torch.rand(2, 4, requires_grad=True).chunk(2, 1)[0],
    ],
)  # fmt: skip
def test_what_cannot_be_kept_leaves_nothing_behind(value: Any) -> None:
    taker = Taker(owned())
    kept = taker.take_or_raise([1, 2])
    with pytest.raises(CannotBeKept):
        taker.take_or_raise(value)
    assert len(taker.nodes) == 1
    assert Putter(taker.nodes, owned()).put(kept) == [1, 2]
    assert taker.take_or_raise([3]) == [1]


def test_what_consists_of_more_than_was_allowed_is_left_out() -> None:
    taker = Taker(owned(), most=3)
    assert taker.take_or_raise([[], []]) == [0]
    assert taker.take_or_raise(list(range(100_000))) == [3]
    with pytest.raises(CannotBeKept):
        taker.take_or_raise([[], [], []])


def test_what_a_layer_gave_is_not_written_over() -> None:
    value, gave = torch.rand(2, 2), torch.rand(2, 4, requires_grad=True).chunk(2, 1)[0]
    found = through_a_file(value, gave)
    assert found is not gave
    assert torch.equal(found, value)


def test_of_very_large_values_the_first_parts_say_whether_they_can_be_kept() -> None:
    taker = Taker(owned(), copies=False, most=3)
    large: list[Any] = [[] for _ in range(100)]
    taker.take_or_raise(large)
    assert taker.has(large)
    assert len(taker.nodes) == 3
    with pytest.raises(CannotBeKept):
        taker.take_or_raise([Own(), *large])

"""Torch7's criteria: what they give, their gradients, and how they read targets."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from jobs.torch7 import criteria as torch7
from jobs.torch7.activations import ReLU
from jobs.torch7.module import BadArgument, Criterion
from jobs.training.step import OperationRecorder
from tests.unit.torch7.exactly import distinct, few, seeds, shapes

sides = st.integers(1, 4)


def check(criterion: Criterion, output: Any, target: Any, expected: float) -> None:
    """The loss is the expected one, a single number, and has the right gradients."""
    criterion.double()
    loss = criterion(output, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    outputs = output if isinstance(output, list) else [output]
    assert torch.autograd.gradcheck(
        lambda *given: criterion(list(given) if isinstance(output, list) else given[0], target), outputs
    )


def summing(criterion: Any) -> Any:
    criterion.size_average = False
    return criterion


def values(tensor: Tensor) -> Any:
    return tensor.detach().numpy()


def smooth(difference: Any) -> Any:
    distance = np.abs(difference)
    return np.where(distance < 1, 0.5 * difference**2, distance - 0.5)


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def entropy(x: Any, t: Any) -> Any:
    return -(t * np.log(x + 1e-12) + (1 - t) * np.log(1 - x + 1e-12))


# Value by value: a criterion, its losses, and what makes random numbers into outputs and targets it is for.
real = (lambda x: x * 0.7, lambda t: t + 0.013)
signs = (lambda x: x * 0.3, lambda t: torch.where(t > 0, 1.0, -1.0))
bits = (torch.sigmoid, lambda t: (t > 0).double())
shares = (lambda x: x, lambda t: torch.where(t > 0, t.sigmoid(), 0.0))
VALUE_BY_VALUE = [
    (torch7.MSECriterion, lambda x, t: (x - t) ** 2, *real),
    (torch7.AbsCriterion, lambda x, t: np.abs(x - t), *real),
    (torch7.SmoothL1Criterion, lambda x, t: smooth(x - t), *real),
    (torch7.DistKLDivCriterion, lambda x, t: t * (np.log(np.where(t > 0, t, 1)) - x), *shares),
    (torch7.BCECriterion, entropy, *bits),
    (torch7.MultiLabelSoftMarginCriterion, lambda x, t: entropy(logistic(x), t), lambda x: x, bits[1]),
    (torch7.MarginCriterion, lambda x, t: np.maximum(0, 1 - x * t), *signs),
    (torch7.SoftMarginCriterion, lambda x, t: np.log1p(np.exp(-x * t)), *signs),
    (torch7.HingeEmbeddingCriterion, lambda x, t: np.where(t == 1, x, np.maximum(0, 1 - x)), *signs),
]


@pytest.mark.parametrize("averages", [True, False], ids=["mean", "sum"])
@pytest.mark.parametrize(("kind", "losses", "to_output", "to_target"), VALUE_BY_VALUE)
@few
@given(seed=seeds, shape=shapes)
def test_a_criterion_of_values_is_the_mean_over_all_of_them(kind, losses, to_output, to_target, averages, seed, shape):
    numbers, others = distinct(seed, shape, shape)
    output, target = to_output(numbers.detach() / 3).requires_grad_(), to_target(others.detach())
    criterion = kind() if averages else summing(kind())
    reduce = np.mean if averages else np.sum
    check(criterion, output, target, reduce(losses(values(output), values(target))))


@pytest.mark.parametrize("kind", [torch7.MSECriterion, torch7.AbsCriterion, torch7.SmoothL1Criterion])
def test_a_target_is_never_stretched_over_the_output(kind):
    """PyTorch compares each of N×1 outputs with each of N targets."""
    output, target = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 2.0, 4.0])
    assert kind()(output, target).item() == 0
    assert kind()(torch.rand(2, 784), torch.rand(2, 1, 28, 28)).shape == ()
    with pytest.raises(ValueError, match="the output has the shape 3×1 and the target 3×4"):
        kind()(output, torch.rand(3, 4))


def test_targets_may_be_of_whole_numbers():
    assert torch7.MSECriterion()(torch.tensor([1.0, 2.0]), torch.tensor([3, 2])).item() == 2


@pytest.mark.parametrize("kind", [torch7.MSECriterion, torch7.AbsCriterion, torch7.SmoothL1Criterion])
def test_the_argument_and_the_field_size_average_say_the_same(kind):
    output, target = torch.rand(3, 4), torch.rand(3, 4)
    assert kind.lua_fields["sizeAverage"] == "size_average"
    assert torch.equal(kind(False)(output, target), summing(kind())(output, target))
    assert torch.equal(kind(None)(output, target), kind(True)(output, target))


def test_a_larger_target_is_cropped_to_its_middle():
    target = torch.arange(30.0).reshape(1, 5, 6)
    assert torch7.SpatialAutoCropMSECriterion()(target[:, 1:4, 2:4], target).item() == 0
    assert torch7.SpatialAutoCropMSECriterion()(target[:, 0:2, 1:4], target[:, :3]).item() == 0
    with pytest.raises(ValueError, match="crops the target"):
        torch7.SpatialAutoCropMSECriterion()(target, target[:, :3])


def test_l1_cost_sums_and_asks_for_no_target():
    (output,) = distinct(1, (2, 3))
    check(torch7.L1Cost(), output, None, np.abs(values(output)).sum())


def classes(seed: int, count: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(1, count + 1, shape))


def weighted_likelihood(scores: Any, target: Any, weights: Any, averages: bool) -> float:
    """Rows of log-likelihoods, as Torch's loop takes them."""
    loss = total = 0.0
    for row, one in zip(scores, target, strict=True):
        loss -= weights[one - 1] * row[one - 1]
        total += weights[one - 1]
    return loss / total if averages and total else loss


def log_softmax(scores: Any) -> Any:
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


@pytest.mark.parametrize("kind", [torch7.ClassNLLCriterion, torch7.CrossEntropyCriterion])
@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("has_weights", [True, False])
@few
@given(seed=seeds, samples=sides, count=sides)
def test_classes_count_from_one(kind, averages, has_weights, seed, samples, count):
    (scores,) = distinct(seed, (samples, count))
    target = classes(seed, count, samples)
    weights = torch.arange(count, dtype=torch.float64) if has_weights else None
    rows = values(scores) if kind is torch7.ClassNLLCriterion else log_softmax(values(scores))
    weigh = np.arange(count) if has_weights else np.ones(count)
    expected = weighted_likelihood(rows, target.numpy(), weigh, averages)
    check(kind(weights, averages), scores, target, expected)
    # Databases and hooks give floats, some with sides of 1.
    assert kind(weights, averages)(scores.float(), target.float().reshape(-1, 1)).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("kind", [torch7.ClassNLLCriterion, torch7.CrossEntropyCriterion, torch7.MultiMarginCriterion])
@pytest.mark.parametrize("target", [torch.tensor([2.0]), torch.tensor(2), 2])
def test_one_sample_without_a_batch_has_one_class(kind, target):
    (scores,) = distinct(1, (3,))
    assert torch.equal(kind()(scores, target), kind()(scores[None], torch.tensor([2])))


@pytest.mark.parametrize(
    "criterion",
    [torch7.ClassNLLCriterion(), torch7.CrossEntropyCriterion(), torch7.MultiMarginCriterion(),
     torch7.ClassSimplexCriterion(3)],
)  # fmt: skip
@pytest.mark.parametrize("wrong", [0, 4, -98])
def test_a_class_that_there_is_not_is_a_sentence(criterion, wrong):
    with pytest.raises(ValueError, match=f"got the class {wrong}; Torch counts classes from 1 to 3"):
        criterion(torch.rand(2, 3), torch.tensor([1.0, wrong]))


def test_a_class_of_a_pixel_that_there_is_not_is_a_sentence():
    with pytest.raises(ValueError, match="got the class 0; Torch counts classes from 1 to 5"):
        torch7.SpatialClassNLLCriterion()(torch.rand(1, 5, 2, 2), torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="got the class 4; Torch counts classes from 1 to 3"):
        torch7.MultiLabelMarginCriterion()(torch.rand(3), torch.tensor([4, 0, 0]))


@pytest.mark.parametrize("kind", [torch7.ClassNLLCriterion, torch7.MultiMarginCriterion])
def test_more_classes_than_samples_is_a_sentence(kind):
    with pytest.raises(ValueError, match="one class for each sample: the output has the shape 2×3 and the target 3"):
        kind()(torch.rand(2, 3), torch.ones(3))
    with pytest.raises(ValueError, match="takes samples × classes"):
        kind()(torch.rand(2, 3, 1), torch.ones(2))


def test_the_ignored_class_counts_neither_in_the_sum_nor_in_the_mean():
    scores = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1, 7, 3, 7])
    loss = torch7.ClassNLLCriterion(None, None, 7)(scores, target)
    assert loss.item() == pytest.approx(-(scores[0, 0] + scores[2, 2]).item() / 2)


def test_a_batch_that_weighs_nothing_has_the_loss_zero():
    """PyTorch divides by zero there."""
    scores = torch.rand(2, 3, requires_grad=True)
    loss = torch7.ClassNLLCriterion(torch.tensor([0.0, 0.0, 1.0]))(scores, torch.tensor([1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(scores.grad, torch.zeros(2, 3))


def test_cross_entropy_leaves_out_sides_of_one():
    scores = torch.rand(2, 3)
    criterion, target = torch7.CrossEntropyCriterion(), torch.tensor([1, 3])
    assert torch.equal(criterion(scores[:, :, None, None], target), criterion(scores, target))


@pytest.mark.parametrize(
    ("kind", "prepare"),
    [(torch7.SpatialClassNLLCriterion, lambda rows: rows), (torch7.SpatialCrossEntropyCriterion, log_softmax)],
)
@few
@given(seed=seeds, samples=sides, count=sides, height=sides, width=sides)
def test_every_pixel_has_a_class(kind, prepare, seed, samples, count, height, width):
    (scores,) = distinct(seed, (samples, count, height, width))
    target = classes(seed, count, samples, height, width)
    weights = torch.arange(1, count + 1)
    rows = prepare(np.moveaxis(values(scores), 1, -1).reshape(-1, count))
    expected = weighted_likelihood(rows, target.numpy().ravel(), weights.numpy(), True)
    check(kind(weights), scores, target, expected)
    # As the pictures of a label database have it: a plane.
    assert torch.equal(kind()(scores, target[:, None]), kind()(scores, target))


@few
@given(seed=seeds, samples=sides, count=sides, time=sides, width=sides)
def test_every_place_of_a_volume_has_a_class(seed, samples, count, time, width):
    (scores,) = distinct(seed, (samples, count, time, 2, width))
    target = classes(seed, count, samples, time, 2, width)
    weights = torch.arange(1, count + 1)
    rows = log_softmax(np.moveaxis(values(scores), 1, -1).reshape(-1, count))
    expected = weighted_likelihood(rows, target.numpy().ravel(), weights.numpy(), True)
    check(torch7.VolumetricCrossEntropyCriterion(weights), scores, target, expected)


@pytest.mark.parametrize("p", [1, 2])
@few
@given(seed=seeds, samples=sides, count=sides)
def test_multi_margin(p, seed, samples, count):
    (scores,) = distinct(seed, (samples, count))
    target, weights = classes(seed, count, samples), torch.arange(1, count + 1)
    expected = 0.0
    for row, one in zip(values(scores), target.numpy() - 1, strict=True):
        missed = np.maximum(0, 0.52 - row[one] + np.delete(row, one)) ** p
        expected += weights[one].item() * missed.sum() / count / samples
    check(torch7.MultiMarginCriterion(p, weights, 0.52), scores, target, expected)


def test_multi_margin_knows_two_powers():
    assert torch7.MultiMarginCriterion().margin == 1
    with pytest.raises(BadArgument, match="p = 1 and p = 2"):
        torch7.MultiMarginCriterion(3)


@few
@given(seed=seeds, samples=sides, count=sides, ends=st.integers(0, 4))
def test_the_first_zero_ends_the_list_of_a_samples_classes(seed, samples, count, ends):
    scores = distinct(seed, (samples, count))[0].detach().mul(0.3).requires_grad_()
    target = np.stack([np.random.default_rng([seed, row]).permutation(count) + 1 for row in range(samples)])
    target[:, ends : ends + 1] = 0
    expected = 0.0
    for row, listed in zip(values(scores), target, strict=True):
        named = [one - 1 for one in listed[: min(ends, count)]]
        others = [one for one in range(count) if one not in named]
        expected += sum(max(0, 1 - row[one] + row[other]) for one in named for other in others)
    expected /= count * samples
    check(torch7.MultiLabelMarginCriterion(), scores, torch.from_numpy(target).double(), expected)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_corners_of_a_simplex_are_equally_far_from_each_other(count):
    criterion = torch7.ClassSimplexCriterion(count)
    corners = criterion.simplex.double()
    angles = corners @ corners.T
    expected = np.where(np.eye(count) == 1, 1, -1 / (count - 1))
    np.testing.assert_allclose(angles.numpy(), expected, atol=1e-6)
    assert criterion(corners, torch.arange(1, count + 1)).item() == pytest.approx(0, abs=1e-12)
    assert criterion(corners[:1] * 0, torch.tensor([1])).item() == pytest.approx(1 / count)


@pytest.mark.parametrize("count", [None, 1, 2.5, 100_000])
def test_a_simplex_needs_a_fair_number_of_classes(count):
    with pytest.raises(BadArgument):
        torch7.ClassSimplexCriterion(count)


@pytest.mark.parametrize("kind", [torch7.ClassNLLCriterion, torch7.BCECriterion, torch7.MultiLabelSoftMarginCriterion])
def test_weights_are_a_tensor_of_one_dimension(kind):
    with pytest.raises(BadArgument, match="tensor of one dimension"):
        kind(torch.ones(2, 2))
    with pytest.raises(BadArgument, match="tensor of one dimension"):
        kind([1, 2])


@few
@given(seed=seeds, samples=sides, count=sides)
def test_bits_may_weigh_differently(seed, samples, count):
    (numbers,) = distinct(seed, (samples, count))
    output, target = numbers.detach().sigmoid().requires_grad_(), (numbers.detach() > 0).double()
    weights = torch.arange(1, count + 1)
    expected = (entropy(values(output), values(target)) * weights.numpy()).mean()
    check(torch7.BCECriterion(weights), output, target, expected)
    if count > 1:
        with pytest.raises(ValueError, match="its last side must be as long"):
            torch7.BCECriterion(weights)(output[:, :1], target[:, :1])


def test_bits_that_are_quite_wrong_have_a_finite_loss():
    output = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = torch7.BCECriterion()(output, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-12), rel=1e-5)
    assert bool(torch.isfinite(output.grad).all())


def table(seed: int, *shape: int) -> list[Tensor]:
    return [part.detach().div(3).requires_grad_() for part in distinct(seed, shape, shape)]


def target_of_signs(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], shape))


def cosines(first: Any, second: Any) -> Any:
    lengths = (np.sum(first**2, -1) + 1e-12) * (np.sum(second**2, -1) + 1e-12)
    return np.sum(first * second, -1) / np.sqrt(lengths)


@pytest.mark.parametrize("averages", [True, False])
@few
@given(seed=seeds, samples=sides, features=st.integers(2, 4))
def test_cosine_embedding(averages, seed, samples, features):
    outputs, target = table(seed, samples, features), target_of_signs(seed, samples)
    found = cosines(*map(values, outputs))
    losses = np.where(values(target) == 1, 1 - found, np.maximum(0, found - 0.11))
    criterion = torch7.CosineEmbeddingCriterion(0.11)
    criterion.size_average = averages
    expected = losses.mean() if averages else losses.sum()
    check(criterion, outputs, target, expected)
    check(criterion, outputs, target.reshape(-1, 1), expected)


def test_cosine_embedding_of_one_pair():
    first, second = table(1, 3)
    expected = 1 - cosines(values(first), values(second))
    check(torch7.CosineEmbeddingCriterion(), [first, second], 1, expected)
    assert torch7.CosineEmbeddingCriterion().margin == 0


@few
@given(seed=seeds, samples=sides, features=sides)
def test_margin_ranking_divides_by_the_number_of_samples(seed, samples, features):
    outputs, target = table(seed, samples, features), target_of_signs(seed, samples, features)
    first, second = map(values, outputs)
    expected = np.maximum(0, 0.51 - values(target) * (first - second)).sum() / samples
    check(torch7.MarginRankingCriterion(0.51), outputs, target, expected)


def test_margin_ranking_asks_for_a_distance_of_one_where_pytorch_asks_for_none():
    outputs = [torch.tensor([2.5]), torch.tensor([2.0])]
    assert torch7.MarginRankingCriterion()(outputs, 1).item() == 0.5
    assert torch7.MarginRankingCriterion(0)(outputs, 1).item() == 0


@pytest.mark.parametrize("target", [1, -1])
def test_l1_hinge_embedding_of_one_pair_takes_all_its_values(target):
    outputs = [part.detach().div(10).requires_grad_() for part in table(3, 2, 3)]
    distance = np.abs(values(outputs[0]) - values(outputs[1])).sum()
    check(torch7.L1HingeEmbeddingCriterion(2), outputs, target, distance if target == 1 else max(0, 2 - distance))


@few
@given(seed=seeds, samples=st.integers(2, 4), features=sides)
def test_l1_hinge_embedding_of_a_batch_is_the_mean_of_its_pairs(seed, samples, features):
    outputs, target = table(seed, samples, features), target_of_signs(seed, samples)
    criterion = torch7.L1HingeEmbeddingCriterion(1.01)
    each = [criterion([outputs[0][row], outputs[1][row]], target[row].item()).item() for row in range(samples)]
    check(criterion, outputs, target, np.mean(each))


@few
@given(seed=seeds, samples=sides)
def test_distance_ratio(seed, samples):
    outputs = table(seed, samples)
    like, unlike = map(values, outputs)
    expected = -np.log(np.exp(-like) / (np.exp(-like) + np.exp(-unlike))).mean()
    check(torch7.DistanceRatioCriterion(), outputs, None, expected)


@pytest.mark.parametrize("kind", [torch7.CosineEmbeddingCriterion, torch7.MarginRankingCriterion])
def test_a_pair_is_two_outputs_of_one_shape(kind):
    with pytest.raises(ValueError, match="compares two outputs with each other, and got a tensor"):
        kind()(torch.rand(2, 3), torch.ones(2))
    with pytest.raises(ValueError, match="got a table of 3"):
        kind()([torch.rand(2, 3)] * 3, torch.ones(2))
    with pytest.raises(ValueError, match="the shape 2×3 and the target 2×2"):
        kind()([torch.rand(2, 3), torch.rand(2, 2)], torch.ones(2))
    with pytest.raises(ValueError, match="needs a target"):
        kind()([torch.rand(2, 3), torch.rand(2, 3)], None)


@pytest.mark.parametrize("kind", [torch7.MSECriterion, torch7.ClassNLLCriterion, torch7.BCECriterion])
def test_a_criterion_of_one_output_refuses_a_table(kind):
    with pytest.raises(ValueError, match=r"the output is a table of 2; nn\.ParallelCriterion takes tables"):
        kind()([torch.rand(2, 3)] * 2, torch.ones(2))
    with pytest.raises(ValueError, match="the target is a table of 2"):
        kind()(torch.rand(2, 3), [torch.ones(2)] * 2)


def calling(criterion: Criterion, name: str) -> Callable[..., Any]:
    """A method as Lua finds it."""
    method: Callable[..., Any] = getattr(criterion, criterion.lua_methods()[name])
    return method


def test_parallel_criteria_share_out_outputs_and_targets():
    both = torch7.ParallelCriterion()
    assert calling(both, "add")(torch7.MSECriterion(), 0.5) is None
    calling(both, "add")(torch7.ClassNLLCriterion())
    outputs, target = table(1, 2, 3), torch.rand(2, 3, dtype=torch.float64)
    expected = 0.5 * torch7.MSECriterion()(outputs[0], target) + torch7.ClassNLLCriterion()(outputs[1], torch.ones(2))
    check(both, outputs, [target, torch.ones(2)], expected.item())


def test_parallel_criteria_take_slices_of_one_target():
    """Lua's index gives the slices of a tensor, too."""
    both = torch7.ParallelCriterion()
    for _ in range(2):
        both.add(torch7.AbsCriterion())
    outputs, targets = table(1, 3), torch.rand(2, 3, dtype=torch.float64)
    expected = np.abs(values(torch.stack(outputs)) - values(targets)).mean(1).sum()
    check(both, outputs, targets, expected)


def test_a_repeated_target_is_for_all_parallel_criteria():
    both = torch7.ParallelCriterion(True)
    same = torch7.MSECriterion()
    both.add(same)
    both.add(same)
    outputs, target = table(1, 2, 3), torch.zeros(2, 3)
    check(both, outputs, target, sum((values(output) ** 2).mean() for output in outputs))


def test_multi_criterion_gives_all_the_same():
    both = torch7.MultiCriterion()
    both.add(torch7.ClassNLLCriterion(), 0.5)
    both.add(torch7.CrossEntropyCriterion(torch.tensor([1.0, 2.0, 3.0])))
    scores, target = table(1, 2, 3)[0], torch.tensor([1, 3])
    expected = 0.5 * torch7.ClassNLLCriterion()(scores, target)
    expected = expected + torch7.CrossEntropyCriterion(torch.tensor([1.0, 2.0, 3.0]).double()).double()(scores, target)
    check(both, scores, target, expected.item())


def test_criteria_in_criteria_move_with_them():
    """Their class weights must be where the outputs are."""
    inner, outer = torch7.MultiCriterion(), torch7.ParallelCriterion()
    inner.add(torch7.ClassNLLCriterion(torch.ones(3)))
    outer.add(inner)
    assert [buffer.device.type for buffer in outer.to("meta").buffers()] == ["meta"]


def test_criteria_that_cannot_be_combined_are_sentences():
    with pytest.raises(BadArgument, match="add needs a criterion; it got 3"):
        torch7.MultiCriterion().add(3)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match=r"add needs a criterion; it got nn\.ReLU"):
        torch7.MultiCriterion().add(ReLU())
    with pytest.raises(ValueError, match="has no criteria"):
        torch7.MultiCriterion()(torch.rand(2), torch.rand(2))
    both = torch7.ParallelCriterion()
    both.add(torch7.MSECriterion())
    both.add(torch7.MSECriterion())
    with pytest.raises(ValueError, match="has 2 criteria and got 1 outputs"):
        both([torch.rand(2)], [torch.rand(2)] * 2)
    with pytest.raises(ValueError, match="has 2 criteria and got 1 targets"):
        both([torch.rand(2)] * 2, [torch.rand(2)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("criterion", "output", "target"),
    [
        (torch7.MSECriterion(), torch.rand(2, 3), torch.rand(6)),
        (torch7.SmoothL1Criterion(), torch.rand(2, 3), torch.rand(6)),
        (torch7.AbsCriterion(), torch.rand(2, 3), torch.rand(6)),
        (torch7.ClassNLLCriterion(torch.ones(3)), torch.rand(2, 3), torch.ones(2)),
        (torch7.BCECriterion(torch.ones(3)), torch.rand(2, 3), torch.ones(2, 3)),
        (torch7.CosineEmbeddingCriterion(), [torch.rand(2, 3), torch.rand(2, 3)], torch.ones(2)),
    ],
)
def test_losses_of_mixed_precision_are_float32(criterion, output, target, dtype):
    """Losses stay in float32 where layers compute with half the digits."""
    given = [part.to(dtype) for part in output] if isinstance(output, list) else output.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(given, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(criterion(output, target).item(), abs=0.02)


def pair_of(shape: tuple[int, ...]) -> list[Tensor]:
    return [torch.rand(shape), torch.rand(shape)]


@pytest.mark.parametrize(
    ("criterion", "output", "target"),
    [
        (torch7.MSECriterion(), torch.rand(2, 3), torch.rand(6)),
        (torch7.DistKLDivCriterion(), torch.rand(2, 3), torch.rand(6)),
        (torch7.ClassNLLCriterion(torch.ones(3), True, 2), torch.rand(2, 3), torch.ones(2)),
        (torch7.SpatialCrossEntropyCriterion(), torch.rand(2, 3, 2, 2), torch.ones(2, 2, 2)),
        (torch7.MultiMarginCriterion(), torch.rand(2, 3), torch.ones(2)),
        (torch7.MultiLabelMarginCriterion(), torch.rand(2, 3), torch.ones(2, 3)),
        (torch7.ClassSimplexCriterion(3), torch.rand(2, 3), torch.ones(2)),
        (torch7.BCECriterion(torch.ones(3)), torch.rand(2, 3), torch.ones(2, 3)),
        (torch7.HingeEmbeddingCriterion(), torch.rand(3), torch.ones(3)),
        (torch7.L1HingeEmbeddingCriterion(), pair_of((2, 3)), torch.ones(2)),
        (torch7.CosineEmbeddingCriterion(), pair_of((2, 3)), torch.ones(2)),
        (torch7.MarginRankingCriterion(), pair_of((2, 3)), torch.ones(2, 3)),
        (torch7.DistanceRatioCriterion(), pair_of((2,)), None),
    ],
)
def test_no_value_comes_back_from_the_device(criterion, output, target):
    """So a step with it may be captured, and waits for nothing."""
    with OperationRecorder(torch.device("cpu")) as recorder:
        criterion(output, target)
    assert recorder.operations
    assert not recorder.reads_values


def test_criteria_are_printed_as_torch_prints_them():
    assert torch7.MSECriterion().described() == "nn.MSECriterion"
    assert isinstance(torch7.ParallelCriterion(), nn.Module)

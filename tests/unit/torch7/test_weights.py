"""Weights of Torch7's files in networks built here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jobs.errors import UserError
from jobs.torch7.convolution import SpatialConvolution, SpatialConvolutionMM
from jobs.torch7.linear import Linear
from jobs.torch7.t7 import T7Object
from jobs.torch7.weights import load_into, weights_of
from tests.t7_writer import TorchObject, TorchStorage, TorchTensor, module, save_t7, tensor

random = np.random.default_rng(7)


def linear(inputs: int, outputs: int, **fields: Any) -> TorchObject:
    return module("nn.Linear", weight=values(outputs, inputs), bias=values(outputs), **fields)


def values(*shape: int) -> TorchTensor:
    return tensor(random.normal(size=shape))


def sequential(*modules: TorchObject) -> TorchObject:
    return module("nn.Sequential", modules=list(modules))


def written(part: TorchObject, name: str) -> np.ndarray:
    found: TorchTensor = part.fields[name]
    assert found.storage is not None
    return found.storage.values.reshape(found.sizes)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("kind", [nn.Linear, Linear])
def test_layers_take_their_weights_in_order(tmp_path: Path, kind: type[nn.Linear], ascii: bool) -> None:
    first, second = linear(4, 3), linear(3, 2)
    path = save_t7(tmp_path / "m_Model.t7", sequential(first, module("nn.ReLU"), sequential(second)), ascii)
    model = nn.Sequential(kind(4, 3), nn.ReLU(), nn.Sequential(kind(3, 2)))
    said = load_into(model, path)
    images = torch.randn(5, 4)
    hidden = np.maximum(images.numpy() @ written(first, "weight").T + written(first, "bias"), 0)
    expected = hidden @ written(second, "weight").T + written(second, "bias")
    np.testing.assert_allclose(model(images).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert said == ["m_Model.t7: the weights of 2 layers were taken, 23 values."]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_paths_and_classes_in_torchs_order() -> None:
    tree = T7Object("nn.Sequential", {"modules": [layer(), container(container(layer()), layer()), layer()]})
    found = weights_of(tree)
    assert isinstance(found, list)
    assert [(part.path, part.class_name, list(part.weights)) for part in found] == [
        ("1", "nn.Linear", ["weight"]),
        ("2.1.1", "nn.Linear", ["weight"]),
        ("2.2", "nn.Linear", ["weight"]),
        ("3", "nn.Linear", ["weight"]),
    ]


def layer() -> T7Object:
    return T7Object("nn.Linear", {"weight": torch.zeros(1, 1), "bias": torch.zeros(0), "gradWeight": torch.zeros(1)})


def container(*modules: T7Object) -> T7Object:
    return T7Object("nn.Concat", {"modules": list(modules)})


def test_modules_that_hold_themselves_come_once() -> None:
    shared = layer()
    tree = container(shared, container(shared))
    tree.fields["modules"].append(tree)
    assert len(weights_of(tree)) == 1


def test_modules_too_deep() -> None:
    tree = layer()
    for _ in range(50_000):
        tree = container(tree)
    with pytest.raises(UserError, match="more than 1,000 deep"):
        weights_of(tree)


@pytest.mark.parametrize("kind", [nn.Conv2d, SpatialConvolution, SpatialConvolutionMM])
@pytest.mark.parametrize("shape", [(6, 2, 5, 3), (6, 30)])
@pytest.mark.parametrize("name", ["nn.SpatialConvolution", "nn.SpatialConvolutionMM", "cudnn.SpatialConvolution"])
def test_convolutions_are_flat_in_old_files(tmp_path: Path, kind: Any, shape: tuple[int, ...], name: str) -> None:
    """Width comes first in Torch's arguments; in its weights, height does."""
    convolution = module(name, weight=values(*shape), bias=values(6), kW=3, kH=5)
    model = kind(2, 6, (5, 3)) if kind is nn.Conv2d else kind(2, 6, 3, 5)
    load_into(model, save_t7(tmp_path / "m.t7", convolution))
    assert np.array_equal(model.weight.detach().numpy(), written(convolution, "weight").reshape(6, 2, 5, 3))


def test_frames_of_temporal_convolutions_lie_side_by_side(tmp_path: Path) -> None:
    temporal = module("nn.TemporalConvolution", weight=values(4, 3 * 5), bias=values(4))
    model = nn.Conv1d(5, 4, 3)
    load_into(model, save_t7(tmp_path / "m.t7", temporal))
    frames = random.normal(size=(7, 5)).astype(np.float32)
    expected = [
        written(temporal, "weight") @ frames[start : start + 3].reshape(-1) + written(temporal, "bias")
        for start in range(5)
    ]
    found = model(torch.from_numpy(frames.T.copy())[None])[0].T
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_batch_normalization_of_old_files(tmp_path: Path) -> None:
    """They keep the inverse of the deviation, with ε in it."""
    variance = np.array([0.5, 4.0])
    old = module(
        "nn.SpatialBatchNormalization",
        weight=values(2),
        bias=values(2),
        running_mean=tensor([1, -2]),
        running_std=tensor(1 / np.sqrt(variance + 1e-3)),
        eps=1e-3,
    )
    model = nn.BatchNorm2d(2, eps=1e-3)
    load_into(model, save_t7(tmp_path / "m.t7", sequential(old)))
    assert model.running_var is not None and model.running_mean is not None
    np.testing.assert_allclose(model.running_var.numpy(), variance, rtol=1e-5)
    assert model.running_mean.tolist() == [1, -2]


def test_running_variance_and_no_weights(tmp_path: Path) -> None:
    new = module("nn.BatchNormalization", running_mean=tensor([1, -2]), running_var=tensor([3, 4], "Cuda"))
    model = nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.Linear(2, 1))
    load_into(model, save_t7(tmp_path / "m.t7", sequential(new, linear(2, 1))))
    assert model[0].running_var.tolist() == [3, 4]


def test_layers_that_share_weights(tmp_path: Path) -> None:
    """A siamese network: two layers, one storage."""
    shared = TorchStorage("Float", np.array([5.0, 6.0], dtype=np.float32))
    twins = [module("nn.Linear", weight=TorchTensor("Float", shared, (1, 2), (2, 1))) for _ in range(2)]
    path = save_t7(tmp_path / "m.t7", module("nn.Parallel", modules=twins))
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False))
    model[1].weight = model[0].weight
    load_into(model, path)
    assert model[1].weight.tolist() == [[5, 6]]
    assert model[1].weight is model[0].weight


def test_only_the_first_gpus_copy_counts(tmp_path: Path) -> None:
    path = save_t7(tmp_path / "m.t7", module("nn.DataParallelTable", modules=[sequential(linear(2, 1)), linear(2, 1)]))
    assert len(load_into(nn.Linear(2, 1), path)) == 1


def test_graphs_that_are_no_containers_have_modules_in_their_nodes(tmp_path: Path) -> None:
    parts = [linear(4, 3), None, linear(3, 2)]
    nodes = [TorchObject("nngraph.Node", {"data": {"module": part} if part else {"input": 1}}) for part in parts]
    graph = module("nn.gModule", forwardnodes=nodes, verbose=False)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    assert "2 layers were taken" in load_into(model, save_t7(tmp_path / "g.t7", graph))[0]


def test_one_vector_of_all_weights(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    vector = np.arange(9 + 6 + 4, dtype=np.float32)
    said = load_into(model, save_t7(tmp_path / "snapshot_3_Weights.t7", tensor(vector, "Cuda")))
    assert torch.cat([parameter.reshape(-1) for parameter in model.parameters()]).tolist() == vector.tolist()
    assert said == [
        "snapshot_3_Weights.t7: 19 values were taken, one after the other, for 6 weights and biases.",
        "snapshot_3_Weights.t7: a vector of weights has no running means and variances; these begin anew.",
    ]


def test_shared_weights_are_in_the_vector_once(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    load_into(model, save_t7(tmp_path / "w.t7", tensor([1, 2, 3])))
    assert (model[1].weight.tolist(), model[2].weight.tolist()) == ([[1, 2]], [[3]])


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (12, r"12 values, and they end in nn\.Linear\(3 → 1\) \(1\), whose bias of shape 1 takes those up to 13"),
        (10, r"10 values, and they end in nn\.Linear\(3 → 1\) \(1\), whose weight of shape 1 × 3"),
        (14, r"it has 14 values, and all layers together take 13"),
    ],
)
def test_vector_of_another_network(tmp_path: Path, count: int, said: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = state_of(model)
    with pytest.raises(UserError, match=said):
        load_into(model, save_t7(tmp_path / "w.t7", tensor(range(count))))
    assert is_unchanged(model, before)


def test_first_layer_that_does_not_fit_is_named_and_nothing_changes(tmp_path: Path) -> None:
    path = save_t7(tmp_path / "lenet.t7", sequential(linear(4, 3), module("nn.Tanh"), linear(3, 10)))
    model = nn.Sequential(Linear(4, 3), nn.Tanh(), Linear(3, 2))
    before = state_of(model)
    with pytest.raises(UserError) as refused:
        load_into(model, path)
    assert "has the weight of shape 2 × 3" in str(refused.value)
    assert "that of nn.Linear (3), in the same place of the file, is of shape 10 × 3" in str(refused.value)
    assert is_unchanged(model, before)


def test_bias_on_one_side_only(tmp_path: Path) -> None:
    without = module("nn.Linear", weight=values(3, 4))
    with pytest.raises(UserError, match=r"has the bias of shape 3, and that of nn\.Linear, .* is missing"):
        load_into(nn.Linear(4, 3), save_t7(tmp_path / "without.t7", without))
    with pytest.raises(UserError, match=r"nn\.Linear has a bias of shape 3, and .* has none"):
        load_into(nn.Linear(4, 3, bias=False), save_t7(tmp_path / "with.t7", linear(4, 3)))


def test_longer_and_shorter_networks(tmp_path: Path) -> None:
    """An encoder takes what it has of an autoencoder, and says so."""
    path = save_t7(tmp_path / "a.t7", sequential(linear(4, 2), linear(2, 4)))
    said = load_into(nn.Linear(4, 2), path)
    assert said[1] == "a.t7: nn.Linear (2) had no layer left in the network."
    longer = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 1))
    kept = longer[2].weight.clone()
    assert load_into(longer, path)[1] == "a.t7: it has no more layers; nn.Linear(4 → 1) (2) begin as they were drawn."
    assert torch.equal(longer[2].weight, kept)


def test_model_in_a_table_of_other_things(tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "model": sequential(linear(4, 2)), "best": linear(9, 9), "config": {"lr": 0.1}}
    assert len(load_into(nn.Linear(4, 2), save_t7(tmp_path / "c.t7", checkpoint))) == 1
    assert len(load_into(nn.Linear(4, 2), save_t7(tmp_path / "c.t7", [linear(4, 2), {"epoch": 1}]))) == 1


@pytest.mark.parametrize("value", [None, 3, {"lr": 1}, [], module("nn.Sequential", modules=[module("nn.Tanh")])])
def test_files_without_weights(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match="holds no layers with weights"):
        load_into(nn.Linear(4, 2), save_t7(tmp_path / "n.t7", value))


def test_half_and_double_become_what_the_network_has(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    path = save_t7(
        tmp_path / "h.t7", module("nn.Linear", weight=tensor([[0.5, 2]], "CudaHalf"), bias=tensor([3], "Double"))
    )
    load_into(model, path)
    assert (model.weight.dtype, model.weight.tolist(), model.bias.tolist()) == (torch.float32, [[0.5, 2]], [3])

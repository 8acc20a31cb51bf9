"""Whatever a text keeps, a look at it ends no training: what raises where it is touched is passed over, or named."""

from typing import Any

import pytest
import torch

from jobs.networks.contract import Network, NetworkParams, build_network
from jobs.training.outside import NetworkState, attributes_of, set_attributes
from jobs.training.outside_watch import OutsideWatch

TEXT = """
import random, secrets, weakref
from torch.utils.data import DataLoader

class Own:
    pass

class Raising:
    __slots__ = ("steps",)

    def __getattr__(self, name):
        raise RuntimeError(name)

class Hidden:
    @property
    def __class__(self):
        raise RuntimeError

class KeysRaise(dict):
    def keys(self):
        raise RuntimeError

class Endless:
    def __iter__(self):
        return self

    def __next__(self):
        return 1

    def __reduce__(self):
        raise NotImplementedError

class WithoutHash(type):
    def __eq__(self, other):
        return self is other

class OfWithoutHash(metaclass=WithoutHash):
    pass

def seen_in_vmap():
    seen = []
    torch.vmap(lambda row: (seen.append(row), row)[1])(torch.ones(2, 2))
    return seen[0]

def nested():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

class Keeping(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, input):
        return input

value = VALUE

def network(params):
    return dict(model=nn.Sequential(nn.Flatten(), nn.Linear(4, 2), Keeping(KEPT)))
"""


def network_of(value: str, kept: str = "None") -> Network:
    return build_network(TEXT.replace("VALUE", value).replace("KEPT", kept), NetworkParams((1, 2, 2)))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("place", ["a global", "a list in an attribute"])
@pytest.mark.parametrize(
    "value",
    [
        "random.SystemRandom()", "secrets.choice", "iter(DataLoader([1, 2]))", "Endless()", "nn.LazyLinear(4)",
        "nn.LazyLinear(4).weight", "nested()", "Raising()", "Hidden()", "KeysRaise()", "OfWithoutHash()", "OfWithoutHash",
        "weakref.proxy(Own())", "seen_in_vmap()",
    ],
)  # fmt: skip
def test_what_raises_where_it_is_touched_ends_no_training(value: str, place: str) -> None:
    network = network_of(value, "None" if place == "a global" else "[value]")
    watch = OutsideWatch(network)
    NetworkState(network).put_back()
    set_attributes(network, attributes_of(network))
    changed = watch.changed()
    goes_on = value in ("iter(DataLoader([1, 2]))", "Endless()")
    assert changed.variables == (["value"] if goes_on else [])
    assert changed.attributes == (["kept of model.2"] if goes_on and place != "a global" else [])


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ("nested()", lambda value: value.add_(1)),
        ("[Raising()]", lambda value: value.append(1)),
        ("OfWithoutHash()", lambda value: vars(value).update(steps=1)),
    ],
)
def test_what_changes_beside_it_is_named(value: str, change: Any) -> None:
    network = network_of(value, "value")
    watch = OutsideWatch(network)
    with torch.no_grad():
        change(vars(network.model[2])["kept"])
    changed = watch.changed()
    assert (changed.variables, changed.attributes) == (["value"], ["kept of model.2"])

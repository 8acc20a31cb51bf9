"""Torch7's tensors in Lua: their methods and the functions of `torch`, on PyTorch's tensors.

Places and dimensions count from 1. A method that computes works in place and gives the tensor itself, as in Torch7
(`t:add(1)`); the function of the same name makes a new one (`torch.add(t, 1)`). Reductions without a dimension give a
number, those along one keep it. Comparisons give tensors of bytes, which are masks too.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jobs.torch7.module import dimension

# Of numbers: half a gigabyte. What is larger is a slip, such as sides that were swapped.
MOST_VALUES = 2**27
ELEMENTS_SHOWN = 1000

Function = Callable[..., Any]
TENSOR_METHODS: dict[str, Function] = {}
TORCH_FUNCTIONS: dict[str, Function] = {}

TYPE_NAMES = {
    torch.float32: "torch.FloatTensor",
    torch.float64: "torch.DoubleTensor",
    torch.float16: "torch.HalfTensor",
    torch.int64: "torch.LongTensor",
    torch.int32: "torch.IntTensor",
    torch.int16: "torch.ShortTensor",
    torch.uint8: "torch.ByteTensor",
    torch.int8: "torch.CharTensor",
    torch.bool: "torch.ByteTensor",
}
# Torch7's default is double; networks compute in float32, and so does everything here.
TYPES_BY_NAME = {
    "Tensor": torch.float32,
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float32,
    "CudaTensor": torch.float32,
    "HalfTensor": torch.float32,
    "LongTensor": torch.int64,
    "IntTensor": torch.int32,
    "ShortTensor": torch.int16,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
}


def method(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        TENSOR_METHODS.update(dict.fromkeys(names, function))
        return function

    return register


def both(*names: str) -> Callable[[Function], Function]:
    """A method that is a function too."""

    def register(function: Function) -> Function:
        TORCH_FUNCTIONS.update(dict.fromkeys(names, function))
        return method(*names)(function)

    return register


def function(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        TORCH_FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


def sizes_of(arguments: tuple[Any, ...]) -> list[int]:
    """Sizes as Lua gives them: numbers, or one table of them."""
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list | Tensor) else arguments
    sizes = [int(size) for size in given]
    refuse_absurd(sizes)
    return sizes


def refuse_absurd(sizes: list[int]) -> None:
    if math.prod(abs(size) for size in sizes) > MOST_VALUES:
        raise ValueError(
            f"a tensor of {'×'.join(map(str, sizes))} is too large: it has more than {MOST_VALUES:,} values"
        )


def number_or_tensor(value: Tensor) -> Any:
    return value.item() if value.dim() == 0 else value


def text_of(tensor: Tensor) -> str:
    """A tensor as print shows it: its values, type and sizes."""
    sizes = "x".join(map(str, tensor.shape))
    kind = TYPE_NAMES.get(tensor.dtype, "torch.Tensor")
    if tensor.numel() == 0:
        return f"[{kind} with no dimension]"
    if tensor.numel() > ELEMENTS_SHOWN:
        return f"[{kind} of size {sizes}]"
    if tensor.is_floating_point() and bool((tensor == tensor.round()).all()):
        tensor = tensor.long()
    rows = tensor.detach().reshape(-1, tensor.shape[-1] if tensor.dim() > 1 else 1)
    lines = [
        " ".join(f"{value:10.4f}" if isinstance(value, float) else f"{value:>6}" for value in row)
        for row in rows.tolist()
    ]
    return "\n".join([*lines, f"[{kind} of size {sizes}]"])


# Making tensors


def _nested(values: list[Any], kind: torch.dtype) -> Tensor:
    if any(isinstance(value, Tensor) for value in values):
        return torch.stack([torch.as_tensor(value, dtype=kind) for value in values])
    return torch.tensor(values, dtype=kind)


def _constructor(kind: torch.dtype) -> Function:
    def make(*arguments: Any) -> Tensor:
        if not arguments:
            return torch.zeros(0, dtype=kind)
        first = arguments[0]
        if isinstance(first, Tensor):
            # The same values, seen through another tensor.
            return first.to(kind) if first.dtype != kind else first.view(first.shape)
        if isinstance(first, list):
            return _nested(first, kind)
        return torch.zeros(sizes_of(arguments), dtype=kind)

    return make


for _name, _kind in TYPES_BY_NAME.items():
    TORCH_FUNCTIONS[_name] = _constructor(_kind)


def put(tensor: Tensor, values: Tensor) -> Tensor:
    """Values into a tensor, which takes their sizes, as a result in Torch7 does."""
    if tensor.shape != values.shape:
        tensor.resize_(values.shape)
    return tensor.copy_(values)


def _filled(make: Function) -> Function:
    def function(*arguments: Any) -> Tensor:
        if len(arguments) > 1 and isinstance(arguments[0], Tensor):
            return put(arguments[0], make(sizes_of(arguments[1:])))
        filled: Tensor = make(sizes_of(arguments))
        return filled

    return function


TORCH_FUNCTIONS |= {
    "zeros": _filled(torch.zeros),
    "ones": _filled(torch.ones),
    "rand": _filled(torch.rand),
    "randn": _filled(torch.randn),
    "eye": lambda rows, columns=None: torch.eye(int(rows), int(columns or rows)),
    "randperm": lambda count: torch.randperm(int(count)) + 1,
    "linspace": lambda first, last, count=100: torch.linspace(first, last, int(count)),
    "logspace": lambda first, last, count=100: torch.logspace(first, last, int(count)),
    "numel": lambda tensor: tensor.numel(),
    "manualSeed": lambda seed: None,
    "seed": lambda: 0,
    "initialSeed": lambda: 0,
    "uniform": lambda low=0, high=1: low + (high - low) * torch.rand(()).item(),
    "normal": lambda mean=0, deviation=1: mean + deviation * torch.randn(()).item(),
    "bernoulli": lambda chance=0.5: float(torch.rand(()).item() < chance),
    "random": lambda low=None, high=None: _random_whole(low, high),
    "tic": lambda: 0,
    "toc": lambda start=0: 0,
}


def _random_whole(low: int | None, high: int | None) -> int:
    first, last = (1, 2**31) if low is None else (1, low) if high is None else (low, high)
    return int(torch.randint(int(first), int(last) + 1, ()).item())


@function("range")
def _range(first: float, last: float, step: float = 1) -> Tensor:
    count = math.floor((last - first) / step + 1e-9) + 1
    refuse_absurd([count])
    return first + step * torch.arange(count, dtype=torch.float32)


@function("cat")
def _cat(first: Any, *others: Any) -> Tensor:
    if isinstance(first, Tensor) and (
        isinstance(others[0], list) or (len(others) > 1 and isinstance(others[1], Tensor))
    ):
        joined: Tensor = _cat(*others)
        return put(first, joined)
    tensors, rest = (first, others) if isinstance(first, list) else ([first, others[0]], others[1:])
    tensors = [tensor for tensor in tensors if tensor.numel()]
    # Without a dimension: the last one, as Torch7 joins.
    along = rest[0] if rest else max(tensor.dim() for tensor in tensors)
    return torch.cat(tensors, dimension(int(along), max(tensor.dim() for tensor in tensors)))


# What a tensor is


@method("size")
def _size(tensor: Tensor, along: int | None = None) -> Any:
    return list(tensor.shape) if along is None else tensor.shape[dimension(int(along), tensor.dim())]


@method("stride")
def _stride(tensor: Tensor, along: int | None = None) -> Any:
    return list(tensor.stride()) if along is None else tensor.stride(dimension(int(along), tensor.dim()))


@method("type")
def _type(tensor: Tensor, name: str | None = None) -> Any:
    if name is None:
        return TYPE_NAMES.get(tensor.dtype, "torch.Tensor")
    return tensor.to(TYPES_BY_NAME[name.removeprefix("torch.")])


@method("typeAs")
def _type_as(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(other.dtype)


@method("totable")
def _totable(tensor: Tensor) -> Any:
    return tensor.tolist()


@method("isSameSizeAs")
def _is_same_size(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape


@method("isSize")
def _is_size(tensor: Tensor, sizes: list[int]) -> bool:
    return list(tensor.shape) == sizes


TENSOR_METHODS |= {
    "dim": lambda tensor: 0 if tensor.numel() == 0 and tensor.dim() == 1 else tensor.dim(),
    "nDimension": lambda tensor: 0 if tensor.numel() == 0 and tensor.dim() == 1 else tensor.dim(),
    "nElement": lambda tensor: tensor.numel(),
    "numel": lambda tensor: tensor.numel(),
    "isContiguous": lambda tensor: tensor.is_contiguous(),
    "storageOffset": lambda tensor: tensor.storage_offset() + 1,
    "typename": _type,
    "getTypename": _type,
    "float": lambda tensor: tensor.to(torch.float32),
    # Another type in Torch7, and so a copy.
    "double": lambda tensor: tensor.to(torch.float32, copy=True),
    "cuda": lambda tensor: tensor.to(torch.float32, copy=True),
    "half": lambda tensor: tensor.to(torch.float32, copy=True),
    "long": lambda tensor: tensor.to(torch.int64),
    "int": lambda tensor: tensor.to(torch.int32),
    "byte": lambda tensor: tensor.to(torch.uint8),
    "char": lambda tensor: tensor.to(torch.int8),
    "clone": lambda tensor: tensor.clone(),
    "contiguous": lambda tensor: tensor.contiguous(),
    "in_storage": lambda tensor: tensor.detach().as_strided(
        (tensor.untyped_storage().nbytes() // tensor.itemsize,), (1,), 0
    ),
    "new": lambda tensor, *arguments: _constructor(tensor.dtype)(*arguments).to(tensor.device),
}


# Places in a tensor


def _place(number: Any, size: int) -> int:
    place = int(number)
    found = place - 1 if place > 0 else size + place
    if not 0 <= found < size:
        raise ValueError(f"index {place} is out of range: there are {size}")
    return found


def _slice(part: Any, size: int) -> Any:
    if isinstance(part, int | float):
        return _place(part, size)
    if not isinstance(part, list) or len(part) > 2:
        raise ValueError("an index is a number, {first, last}, {} or a mask")
    if not part:
        return slice(None)
    first = _place(part[0], size)
    return slice(first, (_place(part[1], size) if len(part) == 2 else first) + 1)


def _key(tensor: Tensor, key: Any) -> Any:
    if isinstance(key, Tensor):
        if key.dtype in (torch.uint8, torch.bool):
            return key.bool()
        return tuple(_place(number, size) for number, size in zip(key.tolist(), tensor.shape, strict=False))
    if isinstance(key, int | float):
        return _place(key, tensor.shape[0] if tensor.dim() else 0)
    if not isinstance(key, list):
        raise ValueError(f"a tensor has no field {key!r}")
    return tuple(_slice(part, size) for part, size in zip(key, tensor.shape, strict=False))


@method("get_item")
def _get_item(tensor: Tensor, key: Any) -> Any:
    return number_or_tensor(tensor[_key(tensor, key)])


@method("set_item")
def _set_item(tensor: Tensor, key: Any, value: Any) -> None:
    place = _key(tensor, key)
    if not isinstance(value, Tensor):
        tensor[place] = value
    elif isinstance(place, Tensor):
        tensor.masked_scatter_(place.expand_as(tensor), value.to(tensor.dtype))
    else:
        target = tensor[place]
        target.copy_(value.reshape(target.shape))


@both("select")
def _select(tensor: Tensor, along: int, number: int) -> Any:
    place = dimension(int(along), tensor.dim())
    return number_or_tensor(tensor.select(place, _place(number, tensor.shape[place])))


@both("narrow")
def _narrow(tensor: Tensor, along: int, first: int, count: int) -> Tensor:
    place = dimension(int(along), tensor.dim())
    return tensor.narrow(place, _place(first, tensor.shape[place]), int(count))


@method("sub")
def _sub_or_part(tensor: Tensor, *arguments: Any) -> Any:
    # `t:sub(first, last, …)` is a part of a tensor; only the function `torch.csub` and the operator subtract.
    parts = [arguments[place : place + 2] for place in range(0, len(arguments), 2)]
    key = tuple(
        slice(_place(first, size), _place(last, size) + 1)
        for (first, last), size in zip(parts, tensor.shape, strict=False)
    )
    return tensor[key]


@both("index")
def _index(tensor: Tensor, along: int, places: Any) -> Tensor:
    numbers = torch.as_tensor(places, dtype=torch.long) - 1
    return tensor.index_select(dimension(int(along), tensor.dim()), numbers.to(tensor.device))


@method("indexCopy")
def _index_copy(tensor: Tensor, along: int, places: Any, source: Tensor) -> Tensor:
    return tensor.index_copy_(*_rows(tensor, along, places), source.to(tensor.dtype))


@method("indexAdd")
def _index_add(tensor: Tensor, along: int, places: Any, source: Tensor) -> Tensor:
    return tensor.index_add_(*_rows(tensor, along, places), source.to(tensor.dtype))


@method("indexFill")
def _index_fill(tensor: Tensor, along: int, places: Any, value: float) -> Tensor:
    return tensor.index_fill_(*_rows(tensor, along, places), value)


def _rows(tensor: Tensor, along: int, places: Any) -> tuple[int, Tensor]:
    numbers = torch.as_tensor(places, dtype=torch.long) - 1
    return dimension(int(along), tensor.dim()), numbers.to(tensor.device)


@both("gather")
def _gather(tensor: Tensor, along: int, places: Tensor) -> Tensor:
    return tensor.gather(dimension(int(along), tensor.dim()), places.long() - 1)


@method("scatter")
def _scatter(tensor: Tensor, along: int, places: Tensor, value: Any) -> Tensor:
    return tensor.scatter_(dimension(int(along), tensor.dim()), places.long() - 1, value)


@method("maskedFill")
def _masked_fill(tensor: Tensor, mask: Tensor, value: float) -> Tensor:
    return tensor.masked_fill_(mask.bool(), value)


@both("maskedSelect")
def _masked_select(tensor: Tensor, mask: Tensor) -> Tensor:
    return tensor.masked_select(mask.bool())


@method("maskedCopy")
def _masked_copy(tensor: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    return tensor.masked_scatter_(mask.bool(), source.to(tensor.dtype))


@both("nonzero")
def _nonzero(tensor: Tensor) -> Tensor:
    return tensor.nonzero() + 1


# Shapes


@method("view")
def _view(tensor: Tensor, *arguments: Any) -> Tensor:
    return tensor.view(sizes_of(arguments))


@function("view")
def _view_of(tensor: Tensor, *arguments: Any) -> Tensor:
    """torch.view(tensor, sizes), or torch.view(result, tensor, sizes), whose result becomes the view."""
    source, sizes = (arguments[0], arguments[1:]) if isinstance(arguments[0], Tensor) else (tensor, arguments)
    view = source.view(sizes_of(sizes))
    if source is tensor:
        return view
    return tensor.set_(view.untyped_storage(), view.storage_offset(), view.shape, view.stride())


@method("viewAs")
def _view_as(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.view(other.shape)


@both("reshape")
def _reshape(tensor: Tensor, *arguments: Any) -> Tensor:
    return tensor.reshape(sizes_of(arguments)).clone()


@method("resize", "resizeAs")
def _resize(tensor: Tensor, *arguments: Any) -> Tensor:
    sizes = list(arguments[0].shape) if isinstance(arguments[0], Tensor) else sizes_of(arguments)
    return tensor.resize_(sizes)


@method("set")
def _set(tensor: Tensor, *arguments: Any) -> Tensor:
    if arguments and isinstance(arguments[0], Tensor):
        source = arguments[0]
        return tensor.set_(source.untyped_storage(), source.storage_offset(), source.shape, source.stride())
    raise ValueError("tensor:set takes another tensor here")


@both("expand")
def _expand(tensor: Tensor, *arguments: Any) -> Tensor:
    return tensor.expand(sizes_of(arguments))


@both("expandAs")
def _expand_as(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.expand_as(other)


@both("repeatTensor")
def _repeat(tensor: Tensor, *arguments: Any) -> Tensor:
    sizes = sizes_of(arguments)
    refuse_absurd([tensor.numel(), *sizes])
    return tensor.repeat(sizes)


@both("transpose")
def _transpose(tensor: Tensor, first: int, second: int) -> Tensor:
    return tensor.transpose(dimension(int(first), tensor.dim()), dimension(int(second), tensor.dim()))


@both("t")
def _t(tensor: Tensor) -> Tensor:
    return tensor.t()


@both("permute")
def _permute(tensor: Tensor, *arguments: Any) -> Tensor:
    return tensor.permute([dimension(int(place), tensor.dim()) for place in arguments])


@both("squeeze")
def _squeeze(tensor: Tensor, along: int | None = None) -> Any:
    found = tensor.squeeze() if along is None else tensor.squeeze(dimension(int(along), tensor.dim()))
    return number_or_tensor(found)


@both("unfold")
def _unfold(tensor: Tensor, along: int, size: int, step: int) -> Tensor:
    return tensor.unfold(dimension(int(along), tensor.dim()), int(size), int(step))


@both("split")
def _split(tensor: Tensor, size: int, along: int = 1) -> list[Tensor]:
    return list(torch.split(tensor, int(size), dimension(int(along), tensor.dim())))


@both("chunk")
def _chunk(tensor: Tensor, count: int, along: int = 1) -> list[Tensor]:
    return list(tensor.chunk(int(count), dimension(int(along), tensor.dim())))


# Filling


@method("fill")
def _fill(tensor: Tensor, value: float) -> Tensor:
    return tensor.fill_(value)


@method("zero")
def _zero(tensor: Tensor) -> Tensor:
    return tensor.zero_()


@method("copy")
def _copy(tensor: Tensor, source: Tensor) -> Tensor:
    if tensor.numel() != source.numel():
        raise ValueError(f"copy: {tensor.numel()} values cannot be filled with {source.numel()}")
    # Torch7 looks at the number of values only.
    return tensor.copy_(source.reshape(tensor.shape))


@method("uniform")
def _uniform(tensor: Tensor, low: float = 0, high: float = 1) -> Tensor:
    return tensor.uniform_(low, high)


@method("normal")
def _normal(tensor: Tensor, mean: float = 0, deviation: float = 1) -> Tensor:
    return tensor.normal_(mean, deviation)


@method("bernoulli")
def _bernoulli(tensor: Tensor, chance: float = 0.5) -> Tensor:
    return tensor.bernoulli_(chance)


@method("random")
def _random(tensor: Tensor, low: int | None = None, high: int | None = None) -> Tensor:
    first, last = (1, 2**24) if low is None else (1, low) if high is None else (low, high)
    return tensor.random_(int(first), int(last) + 1)


@method("apply")
def _apply(tensor: Tensor, f: Function) -> Tensor:
    values = tensor.reshape(-1).tolist()
    answers = [f(value) for value in values]
    changed = [value if answer is None else answer for value, answer in zip(values, answers, strict=True)]
    return tensor.copy_(torch.tensor(changed, dtype=tensor.dtype).reshape(tensor.shape))


@method("map")
def _map(tensor: Tensor, other: Tensor, f: Function) -> Tensor:
    return _mapped(tensor, [other], f)


@method("map2")
def _map_two(tensor: Tensor, first: Tensor, second: Tensor, f: Function) -> Tensor:
    return _mapped(tensor, [first, second], f)


def _mapped(tensor: Tensor, others: list[Tensor], f: Function) -> Tensor:
    places = zip(*(part.reshape(-1).tolist() for part in (tensor, *others)), strict=True)
    changed = [values[0] if (answer := f(*values)) is None else answer for values in places]
    return tensor.copy_(torch.tensor(changed, dtype=tensor.dtype).reshape(tensor.shape))


@both("multinomial")
def _multinomial(chances: Tensor, *arguments: Any) -> Tensor:
    """Places that are drawn by their chances; as many for each row of a matrix."""
    if isinstance(arguments[0], Tensor):
        return put(chances, _multinomial(*arguments).to(chances.dtype))
    count, is_put_back = arguments[0], len(arguments) > 1 and arguments[1] is True
    return torch.multinomial(chances, int(count), is_put_back) + 1

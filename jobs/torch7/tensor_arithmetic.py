"""What Torch7's tensors compute: value by value, over many values, products, and the signs of Lua.

See `jobs.torch7.tensors` for what a method and what a function does.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jobs.torch7.module import dimension
from jobs.torch7.tensors import TENSOR_METHODS, TORCH_FUNCTIONS, Function, both, method, number_or_tensor, put

# Of two operands, tensors or numbers.
Operation = Callable[[Any, Any], Any]


# Values, one by one


def _of_each(name: str, compute: Callable[[Tensor], Tensor]) -> None:
    TENSOR_METHODS[name] = lambda tensor, source=None: put(tensor, compute(tensor if source is None else source))
    # With two, the first is the result's place.
    TORCH_FUNCTIONS[name] = lambda first, second=None: compute(first) if second is None else put(first, compute(second))


for _name in ("abs", "ceil", "cos", "exp", "floor", "log", "log1p", "neg", "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt",
              "tan", "tanh", "trunc", "frac", "acos", "asin", "atan", "cosh", "sinh"):  # fmt: skip
    _of_each(_name, getattr(torch, _name))
_of_each("cinv", torch.reciprocal)


@method("clamp")
def _clamp(tensor: Tensor, low: float, high: float) -> Tensor:
    return tensor.clamp_(low, high)


TORCH_FUNCTIONS["clamp"] = lambda tensor, low, high: tensor.clamp(low, high)


def _scaled_sum(tensor: Tensor, arguments: tuple[Any, ...], sign: int) -> Tensor:
    """add(value), add(tensor), add(scale, tensor), or with a tensor to begin with before them."""
    given = list(arguments)
    start = tensor
    if len(given) >= 2 and isinstance(given[0], Tensor):
        start = given.pop(0)
    if len(given) == 2:
        scale, other = given
    else:
        scale, other = 1, given[0]
    return torch.add(start, _alike(other, start) if isinstance(other, Tensor) else other, alpha=sign * scale)


def _alike(other: Tensor, tensor: Tensor) -> Tensor:
    """Torch7 looks at the number of values only where two tensors meet."""
    if other.numel() != tensor.numel():
        raise ValueError(f"inconsistent tensor size: {tensor.numel()} values and {other.numel()}")
    return other.reshape(tensor.shape)


def _sum_function(sign: int) -> Function:
    def function(tensor: Tensor, *arguments: Any) -> Tensor:
        if len(arguments) >= 2 and isinstance(arguments[0], Tensor):
            # The first is the result's place.
            return put(tensor, _scaled_sum(tensor, arguments, sign))
        return _scaled_sum(tensor, arguments, sign)

    return function


TENSOR_METHODS["add"] = lambda tensor, *arguments: put(tensor, _scaled_sum(tensor, arguments, 1))
TENSOR_METHODS["csub"] = lambda tensor, *arguments: put(tensor, _scaled_sum(tensor, arguments, -1))
TORCH_FUNCTIONS["add"] = _sum_function(1)
TORCH_FUNCTIONS["csub"] = _sum_function(-1)


def _with_value(name: str, compute: Operation) -> None:
    """name(value), or name(tensor, value) of another tensor."""

    def in_place(tensor: Tensor, first: Any, second: Any = None) -> Tensor:
        start, value = (tensor, first) if second is None else (first, second)
        value = _alike(value, start) if isinstance(value, Tensor) else value
        return put(tensor, compute(start, value))

    def function(tensor: Any, value: Any, second: Any = None) -> Any:
        if second is not None:
            return in_place(tensor, value, second)
        return compute(
            tensor, _alike(value, tensor) if isinstance(value, Tensor) and isinstance(tensor, Tensor) else value
        )

    TENSOR_METHODS[name] = in_place
    TORCH_FUNCTIONS[name] = function


_BETWEEN_TWO: dict[str, Operation] = {
    "mul": operator.mul, "div": operator.truediv, "cmul": operator.mul, "cdiv": operator.truediv, "pow": torch.pow,
    "cpow": torch.pow, "fmod": torch.fmod, "remainder": torch.remainder, "mod": torch.remainder, "cmax": torch.maximum,
    "cmin": torch.minimum, "atan2": torch.atan2,
}  # fmt: skip
for _name, _compute in _BETWEEN_TWO.items():
    _with_value(_name, _compute)


def _comparison(name: str, compare: Operation) -> None:
    def compared(tensor: Tensor, other: Any) -> Tensor:
        found: Tensor = compare(tensor, _alike(other, tensor) if isinstance(other, Tensor) else other)
        return found.to(torch.uint8)

    both(name)(compared)


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _comparison(_name, getattr(operator, _name))


@both("equal")
def _equal(tensor: Tensor, other: Tensor) -> bool:
    return torch.equal(tensor, other)


# Over many values


def _reduction(name: str, of_all: Function, along: Function) -> None:
    def reduced(tensor: Tensor, place: int | None = None) -> Any:
        if place is None:
            return number_or_tensor(of_all(tensor))
        return along(tensor, dimension(int(place), tensor.dim()))

    def function(*arguments: Any) -> Any:
        # Places for the results may come first: torch.max(values, places, tensor, 1).
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        found = reduced(tensors[-1], *arguments[len(tensors) :])
        results = found if isinstance(found, tuple) else (found,)
        if len(tensors) == 1 or not isinstance(results[0], Tensor):
            return found
        put_there = [put(place, values.to(place.dtype)) for place, values in zip(tensors[:-1], results, strict=False)]
        return (*put_there, *results[len(put_there) :]) if len(results) > 1 else put_there[0]

    TENSOR_METHODS[name] = reduced
    TORCH_FUNCTIONS[name] = function


def _floating(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else tensor.float()


for _name in ("sum", "prod", "mean", "std", "var"):
    _found = getattr(torch, _name)
    _reduction(
        _name,
        lambda tensor, found=_found: found(_floating(tensor)),
        lambda tensor, place, found=_found: found(_floating(tensor), dim=place, keepdim=True),
    )


def _extreme(found: Function) -> Function:
    def along(tensor: Tensor, place: int) -> tuple[Tensor, Tensor]:
        values, places = found(tensor, dim=place, keepdim=True)
        return values, places + 1

    return along


for _name in ("max", "min", "median"):
    _reduction(_name, getattr(torch, _name), _extreme(getattr(torch, _name)))


@both("norm")
def _norm(tensor: Tensor, power: float = 2, along: int | None = None) -> Any:
    if along is None:
        return tensor.norm(power).item()
    return tensor.norm(power, dim=dimension(int(along), tensor.dim()), keepdim=True)


def _renormed(tensor: Tensor, power: float, along: int, longest: float) -> Tensor:
    return torch.renorm(tensor, power, dimension(int(along), tensor.dim()), longest)


TENSOR_METHODS["renorm"] = lambda tensor, *arguments: put(tensor, _renormed(tensor, *arguments))
TORCH_FUNCTIONS["renorm"] = lambda first, *others: (
    put(first, _renormed(*others)) if isinstance(others[0], Tensor) else _renormed(first, *others)
)


@both("dist")
def _dist(tensor: Tensor, other: Tensor, power: float = 2) -> float:
    return float(torch.dist(tensor, _alike(other, tensor), power))


@both("dot")
def _dot(tensor: Tensor, other: Tensor) -> float:
    return float(torch.dot(tensor.reshape(-1), other.reshape(-1)))


@both("any")
def _any(tensor: Tensor) -> bool:
    return bool(tensor.any())


@both("all")
def _all(tensor: Tensor) -> bool:
    return bool(tensor.all())


@both("sort")
def _sort(tensor: Tensor, along: int | bool | None = None, descending: bool = False) -> tuple[Tensor, Tensor]:
    place = None if isinstance(along, bool) else along
    is_descending = along if isinstance(along, bool) else descending
    values, places = tensor.sort(dimension(int(place or tensor.dim()), tensor.dim()), is_descending)
    return values, places + 1


@both("topk")
def _topk(tensor: Tensor, count: int = 1, along: int | None = None, largest: bool = False) -> tuple[Tensor, Tensor]:
    values, places = tensor.topk(int(count), dimension(int(along or tensor.dim()), tensor.dim()), bool(largest))
    return values, places + 1


@both("cumsum")
def _cumsum(tensor: Tensor, along: int = 1) -> Tensor:
    return tensor.cumsum(dimension(int(along), tensor.dim()))


@both("cumprod")
def _cumprod(tensor: Tensor, along: int = 1) -> Tensor:
    return tensor.cumprod(dimension(int(along), tensor.dim()))


# Matrices


def _product(name: str, compute: Operation) -> None:
    TENSOR_METHODS[name] = lambda tensor, first, second: put(tensor, compute(first, second))
    TORCH_FUNCTIONS[name] = lambda first, second, third=None: (
        compute(first, second) if third is None else put(first, compute(second, third))
    )


_PRODUCTS: dict[str, Operation] = {"mm": torch.mm, "mv": torch.mv, "ger": torch.outer, "bmm": torch.bmm}
for _name, _compute in _PRODUCTS.items():
    _product(_name, _compute)


def _with_product(name: str, compute: Operation) -> None:
    """name(a, b), name(scale, a, b) or name(share, scale, a, b): what there is, times its share, plus a product."""

    def in_place(tensor: Tensor, *arguments: Any) -> Tensor:
        *before, first, second = arguments
        place = next((place for place, part in enumerate(before) if isinstance(part, Tensor)), None)
        start = tensor if place is None else before.pop(place)
        # A number before the tensor is its share, one behind it the product's scale; of one alone it is the scale.
        split = len(before) - 1 if place is None else place
        share, scale = [1, *before[:split]][-1], [1, *before[max(split, 0) :]][-1]
        product = scale * compute(first, second)
        return put(tensor, product if share == 0 else share * start + product)

    TENSOR_METHODS[name] = in_place
    TORCH_FUNCTIONS[name] = lambda start, *arguments: in_place(start.clone(), *arguments)


_ADDED_PRODUCTS: dict[str, Operation] = {
    "addmm": torch.mm, "addmv": torch.mv, "addr": torch.outer, "baddbmm": torch.bmm, "addcmul": operator.mul,
    "addcdiv": operator.truediv,
}  # fmt: skip
for _name, _compute in _ADDED_PRODUCTS.items():
    _with_product(_name, _compute)

TORCH_FUNCTIONS["diag"] = torch.diag
TORCH_FUNCTIONS["trace"] = lambda tensor: tensor.trace().item()
TORCH_FUNCTIONS["inverse"] = torch.linalg.inv
TORCH_FUNCTIONS["tril"] = lambda tensor, diagonal=0: tensor.tril(int(diagonal))
TORCH_FUNCTIONS["triu"] = lambda tensor, diagonal=0: tensor.triu(int(diagonal))


def _convolution(name: str, is_turned: bool) -> None:
    """Of a picture with a kernel; of planes with a kernel each; or of planes with kernels of output × input planes."""

    def convolve(tensor: Tensor, *arguments: Any) -> Tensor:
        if len(arguments) > 1 and isinstance(arguments[1], Tensor):
            return put(tensor, convolve(*arguments))
        kernel, kind = arguments[0], str(arguments[1] if len(arguments) > 1 else "V").upper()
        if (tensor.dim(), kernel.dim()) not in ((2, 2), (3, 3), (3, 4)):
            raise ValueError(
                f"torch.{name} takes a picture and a kernel, planes and kernels, or planes and output × input × kernel; "
                f"it got tensors of {tensor.dim()} and {kernel.dim()} dimensions"
            )
        kernels = kernel if kernel.dim() == 4 else kernel.reshape(-1, 1, *kernel.shape[-2:])
        planes = tensor.reshape(1, -1, *tensor.shape[-2:])
        if is_turned:
            kernels = kernels.flip(-2, -1)
        padding = (kernels.shape[-2] - 1, kernels.shape[-1] - 1) if kind == "F" else 0
        groups = len(kernels) if kernel.dim() < 4 else 1
        found = functional.conv2d(planes, kernels, padding=padding, groups=groups)
        return found[0, 0] if tensor.dim() == 2 else found[0]

    both(name)(convolve)


_convolution("conv2", is_turned=True)
_convolution("xcorr2", is_turned=False)

# What the signs of Lua do


def _operated(a: Any, b: Any, compute: Operation) -> Any:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return compute(a, _alike(b, a))
    return compute(a, b)


def _times(a: Any, b: Any) -> Any:
    """Between two tensors the product of vectors and matrices."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a * b
    return number_or_tensor(torch.matmul(a, b))


OPERATIONS: dict[str, Function] = {
    "add": lambda a, b: _operated(a, b, operator.add),
    "sub": lambda a, b: _operated(a, b, operator.sub),
    "mul": _times,
    "div": lambda a, b: _operated(a, b, operator.truediv),
    "pow": lambda a, b: _operated(a, b, operator.pow),
    "neg": lambda a, _b=None: -a,
}

"""What is wrong with a network that trains, in sentences for the person who made it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jobs.layers import LayerRow
from jobs.training.probes import DeadUnits

# A healthy autoencoder loses a unit of its code now and then, and some tenths of a wide layer. Random weights, before the
# first step, leave a third of a layer behind a code silent.
DEAD_SHARE_OF_CODE = 0.2
DEAD_SHARE = 0.5
DEAD_SHARE_UNTRAINED = 0.9
# How much less a gradient moves one layer than another when nothing of it arrives.
VANISHED = 1e-7


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `layer` is the index of a call; None when it is about the whole network."""

    layer: int | None
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class State:
    """What is known of a network at one step. `learning_rate` is None where it does not say how far a step goes."""

    step: int
    rows: Sequence[LayerRow]
    dead: Sequence[DeadUnits]
    code: int | None
    output_is_constant: bool
    learning_rate: float | None


def diagnose(state: State) -> list[Finding]:
    """All that is wrong, what is to blame for the rest first; an empty list for a healthy network."""
    broken = _not_finite(state.rows)
    if broken is not None:
        return [broken]
    found = list(_dead(state))
    if state.output_is_constant:
        found.append(Finding(None, "The output is the same for every image."))
    return [*found, *_gradients(state)]


def _not_finite(rows: Sequence[LayerRow]) -> Finding | None:
    # Weights first: what layers give is NaN because of them.
    row = next((row for row in sorted(rows, key=lambda row: row.kind == "activations") if row.not_finite), None)
    if row is None:
        return None
    verb = "gives values" if row.kind == "activations" else "has weights"
    return Finding(row.index, f"{row.name} {verb} that are not finite (NaN or infinity).")


def _dead(state: State) -> Iterable[Finding]:
    names = {row.index: row.name for row in reversed(state.rows)}
    for layer in state.dead:
        is_code = state.code is not None and state.code in (layer.call, *layer.fed_by)
        limit = DEAD_SHARE_OF_CODE if is_code else DEAD_SHARE
        if layer.dead < (limit if state.step else DEAD_SHARE_UNTRAINED) * layer.units:
            continue
        # The layer with weights is what a person knows it by; the furthest, before a norm.
        index = layer.fed_by[-1] if layer.fed_by else layer.call
        whose = "code units" if is_code else f"units of {names[index]}"
        does = "never fire" if layer.dead == layer.silent else "give the same value for every image"
        yield Finding(index, f"{layer.dead} of {layer.units} {whose} {does}.")
        if layer.dead == layer.units:
            # What comes after it is the same for every image, too, and not to blame.
            return


def _gradients(state: State) -> Iterable[Finding]:
    """Matrices and filters count: single weights of norms and biases may rest."""
    learning = [row for row in state.rows if row.gradient_norm is not None and len(row.shape) > 1]
    moved = [row for row in learning if row.gradient_norm]
    if learning and not moved:
        yield Finding(None, "No gradient reached any layer in the last step: nothing is learnt.")
        return
    none = [row for row in learning if not row.gradient_norm]
    if none:
        yield Finding(none[0].index, f"No gradient reached {_names(none)} in the last step.")
        return
    strengths = [(row, (row.gradient_norm or 0) / norm) for row in moved if (norm := _norm(row))]
    strongest = max((strength for _, strength in strengths), default=0.0)
    weak = [row for row, strength in strengths if strength < VANISHED * strongest]
    if weak:
        yield Finding(weak[0].index, f"Hardly any gradient reaches {_names(weak)}: too little to learn from.")
    strong = [row for row, strength in strengths if strength * (state.learning_rate or 0) > 1]
    if strong:
        text = f"A step changes {_names(strong)} by more than its own size. Try a lower learning rate."
        yield Finding(strong[0].index, text)


def _norm(row: LayerRow) -> float:
    return math.sqrt(math.prod(row.shape) * ((row.std or 0) ** 2 + (row.mean or 0) ** 2))


def _names(rows: Sequence[LayerRow]) -> str:
    others = len(rows) - 1
    return rows[0].name + (f" and {others} other {'layer' if others == 1 else 'layers'}" if others else "")

"""The learning rate as a function of the share of training that is done: DIGITS's seven policies. Free of torch."""

import math
from collections.abc import Callable

from jobs.models.generic_image import Framework, LearningRateSchedule, Solver

# 0.3 / 0.1 is 2.999…: a step that is due must not come one step late.
ROUNDING = 1e-9


def learning_rate(schedule: LearningRateSchedule, percent: float) -> float:
    """The learning rate after `percent` (0 to 100) of all steps; infinity where a formula outgrows every number."""
    try:
        return schedule.learning_rate * FACTORS[schedule.lr_policy](schedule, percent)
    except OverflowError:
        return math.inf


def solver_learning_rate(
    solver: Solver, schedule: LearningRateSchedule, percent: float, framework: Framework = "pytorch"
) -> float:
    """What the solver gets at this share of training. ADADELTA's own rate is 1: only the curve's shape counts for it.

    In Torch not even that counts; and the policy goes by the steps that a solver counts, where two count none.
    """
    if framework == "torch":
        if solver == "ADADELTA":
            return 1.0
        return learning_rate(schedule, 0 if solver in ("ADAM", "RMSPROP") else percent)
    rate = learning_rate(schedule, percent)
    return rate / schedule.learning_rate if solver == "ADADELTA" else rate


def learning_rate_curve(schedule: LearningRateSchedule) -> list[float]:
    """The 101 values of the preview, for 0 % to 100 %."""
    return [learning_rate(schedule, percent) for percent in range(101)]


def _step(schedule: LearningRateSchedule, percent: float) -> float:
    return schedule.lr_step_gamma ** math.floor(percent / schedule.lr_step_size + ROUNDING)


def _multistep(schedule: LearningRateSchedule, percent: float) -> float:
    passed = sum(value <= percent + ROUNDING for value in schedule.lr_multistep_values)
    return schedule.lr_multistep_gamma**passed


def _inverse(schedule: LearningRateSchedule, percent: float) -> float:
    factor: float = (1 + schedule.lr_inv_gamma * percent) ** -schedule.lr_inv_power
    return factor


def _polynomial(schedule: LearningRateSchedule, percent: float) -> float:
    factor: float = max(0.0, 1 - percent / 100) ** schedule.lr_poly_power
    return factor


def _sigmoid(schedule: LearningRateSchedule, percent: float) -> float:
    exponent = schedule.lr_sigmoid_gamma * (percent - schedule.lr_sigmoid_step)
    # e^700 is about the largest float; the curve is 0 long before.
    return 1 / (1 + math.exp(min(exponent, 700)))


FACTORS: dict[str, Callable[[LearningRateSchedule, float], float]] = {
    "fixed": lambda schedule, percent: 1.0,
    "step": _step,
    "multistep": _multistep,
    "exp": lambda schedule, percent: schedule.lr_exp_gamma**percent,
    "inv": _inverse,
    "poly": _polynomial,
    "sigmoid": _sigmoid,
}

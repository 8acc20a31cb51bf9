"""The learning rate's seven policies."""

import math
import subprocess
import sys

import pytest

from jobs.models.generic_image import LearningRateSchedule
from jobs.training.schedules import learning_rate, learning_rate_curve


def schedule(**changes) -> LearningRateSchedule:
    return LearningRateSchedule.model_validate({"kind": "", "learning_rate": 0.01, **changes})


@pytest.mark.parametrize(
    ("changes", "percent", "expected"),
    [
        ({"lr_policy": "fixed"}, 70, 0.01),
        ({"lr_policy": "step"}, 32.99, 0.01),
        ({"lr_policy": "step"}, 33, 0.001),
        ({"lr_policy": "step"}, 99, 0.00001),
        ({"lr_policy": "step", "lr_step_size": 0.1, "lr_step_gamma": 0.5}, 0.3, 0.01 / 8),
        ({"lr_policy": "multistep"}, 49, 0.01),
        ({"lr_policy": "multistep"}, 50, 0.005),
        ({"lr_policy": "multistep"}, 85, 0.0025),
        ({"lr_policy": "exp"}, 10, 0.01 * 0.95**10),
        ({"lr_policy": "inv"}, 30, 0.01 / 2),
        ({"lr_policy": "poly"}, 50, 0.01 / 8),
        ({"lr_policy": "poly"}, 100, 0),
        ({"lr_policy": "sigmoid"}, 50, 0.005),
        ({"lr_policy": "sigmoid"}, 100, 0.01 / (1 + math.exp(5))),
        ({"lr_policy": "sigmoid", "lr_sigmoid_gamma": 1000}, 100, 0),
        ({"lr_policy": "exp", "lr_exp_gamma": 1e10}, 100, math.inf),
    ],
)
def test_policy_follows_its_formula(changes, percent, expected):
    assert learning_rate(schedule(**changes), percent) == pytest.approx(expected, abs=1e-12)


def test_curve_has_a_value_for_every_percent():
    curve = learning_rate_curve(schedule(lr_policy="step"))
    assert len(curve) == 101
    assert curve[0] == 0.01
    assert curve[-1] == pytest.approx(0.00001)


def test_preview_and_starter_text_need_no_torch():
    code = "import sys, jobs.training.schedules, jobs.networks.starter; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

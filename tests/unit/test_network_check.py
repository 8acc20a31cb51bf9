"""The process behind Visualize, run as the server runs it."""

import json
import subprocess
import sys
from typing import Any

from jobs.networks.starter import starter_network

SEED = starter_network((1, 28, 28))


def check(text: str) -> tuple[dict[str, Any], str]:
    request = {
        "text": text,
        "image_shape": [1, 28, 28],
        "label_shape": [],
        "label_range": [0, 9],
        "crop_size": None,
        "n_classes": None,
        "seconds": 200,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobs.network_check"],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    (line,) = done.stdout.splitlines()
    return json.loads(line), done.stderr


def test_answer_is_the_report_and_prints_go_elsewhere():
    answer, log = check("import sys\nprint('hello', sys.stdin.read() == '')\n" + SEED)
    assert answer["parameters"] == 501_834
    assert len(answer["layers"]) == 10
    assert "hello True" in log


def test_answer_is_the_error_with_line_and_layer():
    answer, log = check(SEED.replace("300, 50", "784, 50"))
    assert answer["error"]["line"] == 5
    assert answer["error"]["layer"] == "nn.Linear(784 → 50)"
    assert answer["error"]["type"] == "BadNetwork"
    assert "BadNetwork" in log

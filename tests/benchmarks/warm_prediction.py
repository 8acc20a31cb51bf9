"""Test One once its model's predictor is warm: all pictures included, at the client."""

import time

import requests

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, at_most

WARM_UP = 2


def measure(bench: Bench) -> list[Figure]:
    job = bench.site.train(bench.model_form(train_epochs="1", select_gpu="cpu"))
    bench.site.wait(job)
    picture = next(bench.pictures.rglob("*.png")).read_bytes()
    seconds = [test_one(bench, job.id, picture) for _ in range(WARM_UP + bench.scale.repetitions)]
    return [Figure("Test One, warm, all pictures", "s", seconds[WARM_UP:], at_most(0.1))]


def test_one(bench: Bench, job_id: str, picture: bytes) -> float:
    began = time.perf_counter()
    answer = requests.post(
        f"{bench.site.url}/models/images/generic/infer_one",
        data={"job_id": job_id, "show_visualizations": "1"},
        files={"image_file": ("picture.png", picture)},
        timeout=60,
    )
    answer.raise_for_status()
    return time.perf_counter() - began

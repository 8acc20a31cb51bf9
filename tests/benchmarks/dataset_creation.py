"""Dataset jobs beside what no such job can do without: Pillow decoding the same files on all cores."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.folder import JobFolder
from tests.benchmarks.bench import Bench, events_of, run_module
from tests.benchmarks.figures import Figure, at_least, ratios
from tests.web import payloads

WIDTH, HEIGHT, SIDE = 500, 375, 256
CLASSES = 10
SCENES = 20
# How much weaker finer structures are. With this, files have some 70 KB, as photographs of this size on the web.
FINENESS = 0.1


def measure(bench: Bench) -> list[Figure]:
    photographs = write_photographs(bench.scratch / "photographs", bench.scale.photographs)
    shown = f"{bench.scale.photographs:,} JPEGs of {WIDTH}×{HEIGHT} to {SIDE}×{SIDE}"
    color = {"resize_channels": "3", "resize_width": str(SIDE), "resize_height": str(SIDE)}
    return [
        *compared(bench, bench.pictures, bench.pictures_in_words, 0.8, {}),
        *compared(bench, photographs, f"{shown}, kept as raw pixels", 0.9, {**color, "encoding": "none"}),
        *compared(bench, photographs, f"{shown}, kept as PNG", 0.9, color),
        *compared(bench, photographs, f"{shown}, kept as JPEG", 0.9, {**color, "encoding": "jpg"}),
    ]


def compared(bench: Bench, folder: Path, title: str, aim: float, changes: dict[str, str]) -> list[Figure]:
    """Seconds of both in turns; and the share of Pillow's speed that the job has."""
    ours, alone = [], []
    side = int(changes.get("resize_width", 0))
    for _ in range(bench.scale.rounds):
        ours.append(seconds_of_job(bench, folder, changes))
        answer = json.loads(run_module("tests.benchmarks.rivals.pillow_alone", [str(folder), str(side)]))
        alone.append(answer["seconds"])
    work = "decoding and resizing" if side else "decoding"
    return [
        Figure(f"dataset of {title}", "s", ours),
        Figure(f"Pillow {work} the same files, all cores", "s", alone),
        Figure(
            "the job's share of that speed", "%", [100 * ratio for ratio in ratios(alone, ours)], at_least(100 * aim)
        ),
    ]


def seconds_of_job(bench: Bench, folder: Path, changes: dict[str, str]) -> float:
    job = bench.site.make("datasets/images/classification", payloads.classification(folder, **changes))
    bench.site.wait(job)
    return lasted(job)


def lasted(job: JobFolder) -> float:
    (begin,), (end,) = events_of(job, "started"), events_of(job, "finished")
    return float(end["time"] - begin["time"])


def write_photographs(folder: Path, count: int) -> Path:
    """JPEGs with the sizes of photographs' files: gradients and noise of all wavelengths."""
    random = np.random.default_rng(count)
    scenes = [scene(random) for _ in range(min(SCENES, count))]
    for number in range(count):
        top, left = random.integers(HEIGHT), random.integers(WIDTH)
        cut = scenes[number % len(scenes)].crop((left, top, left + WIDTH, top + HEIGHT))
        path = folder / f"class {number % CLASSES}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.save(path, quality=90)
    return folder


def scene(random: np.random.Generator) -> Image.Image:
    """Twice as wide and high as a photograph that is cut from it."""
    size = (2 * WIDTH, 2 * HEIGHT)
    down, right = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([down / size[1] * a + right / size[0] * b for a, b in random.uniform(0, 80, (3, 2))], axis=-1)
    wavelength = 256
    while wavelength >= 1:
        coarse = random.uniform(0, 255, (size[1] // wavelength + 2, size[0] // wavelength + 2, 3)).astype(np.uint8)
        noise = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        values += np.asarray(noise, np.float64) * wavelength**FINENESS
        wavelength //= 2
    values -= values.min()
    return Image.fromarray((values * (255 / values.max())).astype(np.uint8))

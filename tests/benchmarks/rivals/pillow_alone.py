"""Pillow alone on all cores: decode every picture of a folder, and resize it when a side is given."""

import json
import multiprocessing
import sys
import time
from functools import partial
from pathlib import Path

from PIL import Image

from jobs.storage.cores import available_cores

CHUNK = 64


def decode(side: int, path: Path) -> int:
    with Image.open(path) as image:
        image.load()
        made = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR) if side else image
        return made.width


def main(folder: Path, side: int) -> float:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    began = time.perf_counter()
    with multiprocessing.Pool(available_cores()) as pool:
        for _ in pool.imap_unordered(partial(decode, side), paths, CHUNK):
            pass
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps({"seconds": main(Path(sys.argv[1]), int(sys.argv[2]))}))

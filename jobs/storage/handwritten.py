"""scikit-learn's 1,797 handwritten digits as class folders of PNG: `python -P -m jobs.storage.handwritten FOLDER`."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.folder import publish

SIDE = 28
DARKEST = 16


def write_digit_folders(folder: Path) -> int:
    """Make `folder` with one folder of 28×28 grey pictures for each digit; how many pictures. It is whole or not there."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  takes a second, and only this function needs it

    digits = load_digits()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        for label in range(10):
            (temporary / str(label)).mkdir(parents=True)
        for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            picture = Image.fromarray(np.rint(pixels * (255 / DARKEST)).astype(np.uint8))
            enlarged = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            enlarged.save(temporary / str(label) / f"{index:05d}.png", compress_level=1)
        try:
            publish(temporary, folder)
        except OSError:
            # Somebody else was quicker: what is there is whole.
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(digits.target)


if __name__ == "__main__":
    write_digit_folders(Path(sys.argv[1]))

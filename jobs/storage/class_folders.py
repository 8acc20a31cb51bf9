"""Folders of class folders of pictures: what is in them, and how it is split into training, validation and test."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import UserError
from jobs.specs import EVERYWHERE, ServerPaths
from jobs.storage.images import SUFFIXES, half_up

# The path of a picture, and the number of its class.
Labelled = tuple[str, int]


@dataclass
class Parsed:
    """The classes that were found, the pictures of each split in the order of its database, and what to tell of it."""

    labels: list[str]
    splits: dict[str, list[Labelled]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Search:
    """A walk through folders: where it may go, and what it had to leave out on its way."""

    paths: ServerPaths
    check_stop: Callable[[], None]
    # A line break in a name would break the lists of classes and of paths.
    unlistable: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def leaves_out(self, entry: os.DirEntry[str]) -> bool:
        """Whether this entry has to be left out; what is no link is where its folder is."""
        if "\n" in entry.name or "\r" in entry.name:
            self.unlistable.append(entry.path)
            return True
        if entry.is_symlink() and not self.paths.allows(Path(entry.path)):
            self.outside.append(entry.path)
            return True
        return False

    def warnings(self) -> list[str]:
        """The sentences on files and folders that were left out since the last time."""
        sentences = [
            f"Left out because {reason}: {len(left):,} files or folders, {_first_names(left)}. {advice}"
            for left, reason, advice in (
                (self.unlistable, "of a line break in their names", "Rename them."),
                (
                    self.outside,
                    "they are links that lead out of the folders that this server may read",
                    "Start the server with --data-root to add a folder.",
                ),
            )
            if left
        ]
        self.unlistable, self.outside = [], []
        return sentences


def _first_names(paths: list[str]) -> str:
    return ", ".join(map(ascii, paths[:3])) + (" and others" if len(paths) > 3 else "")


def parse_folders(
    spec: ImageClassificationDatasetSpec, seed: int, check_stop: Callable[[], None], paths: ServerPaths = EVERYWHERE
) -> Parsed:
    """Find and split the pictures that a spec names. The same seed and the same files give the same answer."""
    random = Random(seed)  # noqa: S311  to be repeatable, not secret
    search = Search(paths, check_stop)
    train = _pictures_by_class(Path(spec.folder_train), search)
    found = {name: len(paths) for name, paths in train.items()}
    minimum = spec.folder_train_min_per_class or 1
    train = {name: paths for name, paths in train.items() if len(paths) >= minimum}
    if len(train) < 2:
        raise UserError(" ".join([_too_few_classes(spec, found), *search.warnings()]))
    parsed = Parsed(sorted(train), warnings=search.warnings())
    parsed.warnings += _left_out(found, train, f"fewer than {minimum} training pictures")

    splits = _split_of_each_class(spec, [train[name] for name in parsed.labels], random)
    if spec.has_val_folder:
        splits["val"] = _from_own_folder(spec, "val", parsed, random, search)
    if spec.has_test_folder:
        splits["test"] = _from_own_folder(spec, "test", parsed, random, search)
    for name, pictures in splits.items():
        if pictures:
            random.shuffle(pictures)
            parsed.splits[name] = pictures
    return parsed


def _split_of_each_class(
    spec: ImageClassificationDatasetSpec, classes: list[list[str]], random: Random
) -> dict[str, list[Labelled]]:
    """The pictures of the training folder, shared out; what has a folder of its own gets none of these."""
    pct_val = 0.0 if spec.has_val_folder else spec.folder_pct_val
    pct_test = 0.0 if spec.has_test_folder else spec.folder_pct_test
    splits: dict[str, list[Labelled]] = {"train": [], "val": [], "test": []}
    for number, pictures in enumerate(classes):
        paths = _chosen(pictures, spec.folder_train_max_per_class, random)
        train_count, val_count, _ = split_counts(len(paths), pct_val, pct_test)
        splits["train"] += [(path, number) for path in paths[:train_count]]
        splits["val"] += [(path, number) for path in paths[train_count : train_count + val_count]]
        splits["test"] += [(path, number) for path in paths[train_count + val_count :]]
    return splits


def split_counts(size: int, pct_val: float, pct_test: float) -> tuple[int, int, int]:
    """How many of a class's `size` pictures go to training, validation and test, as DIGITS counted.

    Training is rounded first, then validation, and test gets what is left; a share that is asked for gets one picture
    at least while a larger share can spare it. Rounding is half up: 25 % of MNIST's 60,000 makes 14,998.
    """
    train = min(size, max(1, half_up(size * (100 - pct_val - pct_test) / 100)))
    val = min(size - train, half_up(size * pct_val / 100))
    if pct_test == 0:
        val = size - train
    if pct_val > 0 and val == 0 and train > 1:
        train, val = train - 1, 1
    test = size - train - val
    if pct_test > 0 and test == 0:
        if val > 1:
            val, test = val - 1, 1
        elif train > 1:
            train, test = train - 1, 1
    return train, val, test


def _pictures_by_class(folder: Path, search: Search) -> dict[str, list[str]]:
    """Paths of the pictures below each sub-folder, by the sub-folder's name with blanks for underscores."""
    if not search.paths.allows(folder):
        raise UserError(f"The folder {folder} leads out of the folders that this server may read.")
    try:
        entries = sorted((entry for entry in os.scandir(folder) if entry.is_dir()), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    classes: dict[str, list[str]] = {}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        search.check_stop()
        if search.leaves_out(entry):
            continue
        name = entry.name.replace("_", " ")
        if name in classes:
            raise UserError(
                f'Two folders in {folder} are of one class, "{name}", because an underscore stands for a blank. Rename one.'
            )
        classes[name] = sorted(_pictures_below(os.path.abspath(entry.path), search))  # noqa: PTH100  quick
    return classes


def _pictures_below(folder: str, search: Search, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Paths of picture files at any depth. `above` are the folders above, so that a link to one of them ends the way."""
    status = os.stat(folder)  # noqa: PTH116  Path is four times slower, and there may be millions of files
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_folder = entry.is_dir()
            if (not is_folder and not entry.name.lower().endswith(SUFFIXES)) or search.leaves_out(entry):
                continue
            if is_folder:
                yield from _pictures_below(entry.path, search, above | {here})
            else:
                yield entry.path


def _chosen(paths: list[str], maximum: int | None, random: Random) -> list[str]:
    """At most `maximum` of the paths, in an order of chance."""
    shuffled = random.sample(paths, len(paths))
    return shuffled[:maximum]


def _from_own_folder(
    spec: ImageClassificationDatasetSpec, split: str, parsed: Parsed, random: Random, search: Search
) -> list[Labelled]:
    """The pictures of a separate validation or test folder, of the classes that there are in training."""
    folder = Path(getattr(spec, f"folder_{split}"))
    minimum: int = getattr(spec, f"folder_{split}_min_per_class") or 1
    maximum: int | None = getattr(spec, f"folder_{split}_max_per_class")
    by_class = _pictures_by_class(folder, search)
    parsed.warnings += search.warnings()
    found = {name: len(paths) for name, paths in by_class.items()}
    numbers = {name: number for number, name in enumerate(parsed.labels)}
    known = {name: paths for name, paths in by_class.items() if name in numbers}
    enough = {name: paths for name, paths in known.items() if len(paths) >= minimum}
    parsed.warnings += _left_out(found, known, f"in {folder}, and not among the training classes")
    parsed.warnings += _left_out(
        {name: found[name] for name in known}, enough, f"fewer than {minimum} pictures in {folder}"
    )
    if not enough:
        raise UserError(
            f"No pictures of the training classes were found in {folder}. Expected folders such as "
            f'"{parsed.labels[0]}" in it, each with {minimum} or more pictures.'
        )
    return [(path, numbers[name]) for name, paths in enough.items() for path in _chosen(paths, maximum, random)]


def _left_out(found: dict[str, int], kept: dict[str, list[str]], reason: str) -> list[str]:
    """The sentence on classes that were left out, if any were."""
    gone = [f"{name} ({count:,})" for name, count in sorted(found.items()) if name not in kept]
    if not gone:
        return []
    listed = ", ".join(gone[:20]) + (f" and {len(gone) - 20:,} more" if len(gone) > 20 else "")
    return [f"Classes left out ({reason}): {listed}."]


def _too_few_classes(spec: ImageClassificationDatasetSpec, found: dict[str, int]) -> str:
    listed = ", ".join(f"{name} ({count:,})" for name, count in list(found.items())[:10]) or "none"
    minimum = spec.folder_train_min_per_class or 1
    return (
        f"A classification dataset needs two or more class folders with at least {minimum} pictures each in "
        f"{spec.folder_train}. Folders found, with their pictures: {listed}. "
        f"Pictures are files that end in {', '.join(SUFFIXES)}."
    )

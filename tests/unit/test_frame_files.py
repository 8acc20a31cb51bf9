"""Frames on disk: complete before they are told of, and never too many."""

import gzip
import json
from itertools import pairwise

from jobs.events import EventWriter, all_events
from jobs.folder import JobFolder
from jobs.training.frame_files import FrameFiles, KeptFrame, to_drop


def write(files: FrameFiles, step: int, content: str = "") -> None:
    files.write({"pictures": [content], "error": None}, step=step, epoch=step / 10, image={}, warnings=[])


def test_a_frame_is_a_compressed_file_and_an_event(tmp_path):
    folder = JobFolder(tmp_path)
    write(FrameFiles(folder, EventWriter(folder.events)), 7)
    (event,) = all_events(folder.events)
    assert (event["type"], event["frame"], event["step"], event["epoch"]) == ("frame", 1, 7, 0.7)
    path = folder.path / event["file"]
    assert path == folder.frame(1)
    assert path.stat().st_size == event["size"]
    frame = json.loads(gzip.decompress(path.read_bytes()))
    assert (frame["frame"], frame["step"], frame["warnings"], frame["pictures"]) == (1, 7, [], [""])


def test_numbers_go_on_in_a_folder_that_has_frames(tmp_path):
    folder = JobFolder(tmp_path)
    for _ in range(2):
        write(FrameFiles(folder, EventWriter(folder.events)), 1)
    assert [event["frame"] for event in all_events(folder.events)] == [1, 2]


def test_too_many_frames_are_halved_and_an_event_names_those_that_are_gone(tmp_path):
    folder = JobFolder(tmp_path)
    files = FrameFiles(folder, EventWriter(folder.events), most_frames=20)
    for step in range(100):
        write(files, step)
    dropped = [number for event in all_events(folder.events) for number in event.get("frames", [])]
    kept = sorted(int(path.name.split("_")[1].split(".")[0]) for path in folder.frames.iterdir())
    assert sorted(dropped + kept) == list(range(1, 101))
    assert 10 <= len(kept) <= 20
    assert (kept[0], kept[-1]) == (1, 100)
    assert max(after - before for before, after in pairwise(kept)) <= 16


def test_bytes_are_limited_too(tmp_path):
    folder = JobFolder(tmp_path)
    files = FrameFiles(folder, EventWriter(folder.events), most_bytes=3000)
    for step in range(60):
        write(files, step, str(step))
    assert sum(path.stat().st_size for path in folder.frames.iterdir()) <= 3000


def test_frames_that_lie_closest_go_first():
    frames = [KeptFrame(number, step, 1) for number, step in enumerate((0, 16, 32, 48, 49, 50, 51, 52, 64))]
    assert [frame.step for frame in to_drop(frames, 5)] == [49, 50, 51, 52]

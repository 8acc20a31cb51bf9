"""The frames of a training on disk: a compressed JSON file each, told by an event, and never too many of them."""

import gzip
import json
import math
from dataclasses import dataclass
from typing import Any

from jobs.events import EventWriter, all_events
from jobs.folder import JobFolder, write_whole

MOST_FRAMES = 1000
MOST_BYTES = 250_000_000


@dataclass(frozen=True)
class KeptFrame:
    number: int
    step: int
    size: int


class FrameFiles:
    """Writes frames `frames/frame_N.json.gz`, N = 1, 2, 3…

    A training of days must not fill the disk: when there are more than 1,000 frames, or 250 MB of them, half of them go,
    those that lie closest together. So the first and the last are always there, the others are spread over the whole
    training, and an event {"type": "frames_dropped", "frames": [n, …]} says which are no more. So do those of later
    steps than `after`, where a training is taken up again: it comes by there once more.
    """

    def __init__(
        self,
        folder: JobFolder,
        events: EventWriter,
        most_frames: int = MOST_FRAMES,
        most_bytes: int = MOST_BYTES,
        after: float = math.inf,
    ) -> None:
        self._folder = folder
        self._events = events
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        told = _told(folder)
        # A number is never given again, as browsers may have kept its frame.
        self._next = 1 + max([*_numbers(folder), *told], default=0)
        self._kept = [frame for frame in told.values() if frame]
        self._drop([frame for frame in self._kept if frame.step > after])
        self._remove_untold()

    def write(self, shown: dict[str, Any], **facts: Any) -> None:
        """Write a frame and tell of it: `facts` stand in the event and in the file, which also has what is `shown`."""
        number = self._next
        text = json.dumps({"frame": number, **facts, **shown}, allow_nan=False, separators=(",", ":"))
        # Without a time in it, which takes the way through one call that lets other threads run meanwhile.
        content = gzip.compress(text.encode(), 6, mtime=0)
        self._folder.frames.mkdir(exist_ok=True)
        path = self._folder.frame(number)
        write_whole(path, content)
        error = shown.get("error")
        file = str(path.relative_to(self._folder.path))
        self._events.write("frame", frame=number, file=file, size=len(content), error=error, **facts)
        self._next += 1
        self._kept.append(KeptFrame(number, facts["step"], len(content)))
        if len(self._kept) > self._most_frames or sum(frame.size for frame in self._kept) > self._most_bytes:
            self._drop(to_drop(self._kept, len(self._kept) // 2))

    def _drop(self, frames: list[KeptFrame]) -> None:
        if not frames:
            return
        gone = {frame.number for frame in frames}
        self._kept = [frame for frame in self._kept if frame.number not in gone]
        # Told before it is done: nobody then asks for a file that is just being deleted.
        self._events.write("frames_dropped", frames=sorted(gone))
        for number in gone:
            self._folder.frame(number).unlink(missing_ok=True)

    def _remove_untold(self) -> None:
        """What a worker that died had written, or half written, and not told of."""
        told = {self._folder.frame(frame.number).name for frame in self._kept}
        for path in self._folder.frames.glob("*"):
            if path.name not in told:
                path.unlink()


def to_drop(frames: list[KeptFrame], keep: int) -> list[KeptFrame]:
    """Those to do without so that no more than `keep` and the last are left, at about equal distances in steps."""
    apart = 1
    while len({frame.step // apart for frame in frames}) > keep:
        # Twice as far, and not a little further: what was kept before at equal distances still lies so.
        apart *= 2
    seen: set[int] = set()
    dropped = []
    for frame in frames[:-1]:
        if frame.step // apart in seen:
            dropped.append(frame)
        seen.add(frame.step // apart)
    return dropped


def _told(folder: JobFolder) -> dict[int, KeptFrame | None]:
    """All frames that the events tell of, by number; None for one that was dropped."""
    told: dict[int, KeptFrame | None] = {}
    for event in all_events(folder.events, without=("train", "validation", "progress", "usage")):
        if event["type"] == "frame":
            told[event["frame"]] = KeptFrame(event["frame"], event["step"], event["size"])
        elif event["type"] == "frames_dropped":
            told |= dict.fromkeys(event["frames"])
    return told


def _numbers(folder: JobFolder) -> list[int]:
    names = (
        path.name.removeprefix("frame_").removesuffix(".json.gz") for path in folder.frames.glob("frame_*.json.gz")
    )
    return [int(name) for name in names if name.isdigit()]

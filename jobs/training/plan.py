"""How long a training is and at which learning rate: what its form asked for, and what was added when it had ended.

Free of torch: the server keeps what is added.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from pydantic import Field

from jobs.errors import UserError
from jobs.folder import JobFolder, read_whole, write_json
from jobs.models.generic_image import GenericImageModelSpec
from jobs.specs import FormFields, OptionalFloat
from jobs.training.schedules import solver_learning_rate


class Extension(FormFields):
    """Epochs that a training goes on for after its end. Their learning rate is one: that of the last step, or another."""

    epochs: int = Field(ge=1, le=1_000_000, title="More epochs")
    learning_rate: OptionalFloat = Field(None, gt=0, allow_inf_nan=False, title="Learning rate")


def read_extensions(folder: JobFolder) -> tuple[Extension, ...]:
    """UserError where the network's own code has written something else there."""
    if not folder.extensions.exists():
        return ()
    try:
        return tuple(Extension.model_validate(values) for values in json.loads(read_whole(folder.extensions)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"The epochs that were added to this training cannot be read from its extensions.json: {error}. Make the job anew."
        ) from error


def extend(folder: JobFolder, train_epochs: int, epochs_done: int, extension: Extension) -> None:
    """Add epochs to a training that has done so many. What was added before and never begun, as when the server died
    before it could queue the training, is taken back."""
    before = read_extensions(folder)
    begun = sum(end < epochs_done for end in ends(train_epochs, before))
    write_json(folder.extensions, [kept.model_dump() for kept in (*before[:begun], extension)])


def ends(train_epochs: int, extensions: tuple[Extension, ...]) -> list[int]:
    """The last epoch of the training as it was asked for, and that of each extension."""
    return list(accumulate([train_epochs, *(extension.epochs for extension in extensions)]))


@dataclass(frozen=True)
class Plan:
    """A training's epochs, from the first to the last that was asked for until now."""

    spec: GenericImageModelSpec
    extensions: tuple[Extension, ...] = ()

    @cached_property
    def ends(self) -> list[int]:
        return ends(self.spec.train_epochs, self.extensions)

    @property
    def epochs(self) -> int:
        return self.ends[-1]

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """What the solver gets after so many steps. The schedule of the form is over the epochs of the form."""
        spec = self.spec
        planned = spec.train_epochs * steps_per_epoch
        percent = 100 * min(step, planned - 1) / planned
        rate = solver_learning_rate(spec.solver_type, spec, percent, spec.framework)
        for extension, begin in zip(self.extensions, self.ends, strict=False):
            if step >= begin * steps_per_epoch and extension.learning_rate is not None:
                rate = extension.learning_rate
        return rate

    def at_end(self, epoch: int) -> tuple[bool, bool]:
        """Whether this epoch ends with a validation, and with a snapshot."""
        is_last = epoch in self.ends
        spec = self.spec
        return _is_due(epoch, spec.val_interval, is_last), _is_due(epoch, spec.snapshot_interval, is_last) or is_last


def _is_due(epoch: int, interval: int, is_last: bool) -> bool:
    """Whether this epoch ends with it. 0 is never."""
    return interval > 0 and (epoch % interval == 0 or is_last)

"""What the views work with, made once by `create_app` and kept with the app."""

from dataclasses import dataclass
from typing import cast

from flask import current_app

from jobs.children import Spares
from jobs.predictions import Predictions
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.store import Store
from webapp.config import Settings

SECONDS_BEFORE_FIRST_SPARE = 1.0


@dataclass(frozen=True)
class Services:
    settings: Settings
    store: Store
    resources: Resources
    spares: Spares
    scheduler: Scheduler
    predictions: Predictions

    def start(self) -> None:
        """Begin to work: the queue, and a spare process once the first pages are out."""
        self.scheduler.start()
        self.spares.prepare(SECONDS_BEFORE_FIRST_SPARE)

    def close(self) -> None:
        """Stop what runs in this process. Workers go on."""
        self.scheduler.close()
        self.predictions.close()
        self.spares.close()
        self.store.close()


def services() -> Services:
    """The services of the app that answers the current request."""
    return cast("Services", current_app.extensions["layerscope"])

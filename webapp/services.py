"""What the views work with, made once by `create_app` and kept with the app."""

from dataclasses import dataclass
from typing import cast

from flask import current_app

from jobs.predictions import Predictions
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.store import Store
from webapp.config import Settings


@dataclass(frozen=True)
class Services:
    settings: Settings
    store: Store
    resources: Resources
    scheduler: Scheduler
    predictions: Predictions

    def close(self) -> None:
        """Stop what runs in this process. Workers go on."""
        self.scheduler.close()
        self.predictions.close()
        self.store.close()


def services() -> Services:
    """The services of the app that answers the current request."""
    return cast("Services", current_app.extensions["layerscope"])

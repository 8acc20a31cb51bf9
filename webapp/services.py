"""What the views work with, made once by `create_app` and kept with the app."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import current_app

from jobs.children import Launcher
from jobs.explorations import Explorations
from jobs.passing_folders import remove_left_behind
from jobs.predictions import NetworkChecks, Predictions
from jobs.rebuilding import damaged_lists
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.store import Store
from webapp.accounts import Accounts
from webapp.config import Settings
from webapp.login_attempts import LoginAttempts

if TYPE_CHECKING:
    from jobs.curves import Curves

SECONDS_BEFORE_FIRST_SPARE = 3.0


@dataclass(frozen=True)
class Services:
    settings: Settings
    store: Store
    resources: Resources
    launcher: Launcher
    scheduler: Scheduler
    predictions: Predictions
    checks: NetworkChecks
    explorations: Explorations
    accounts: Accounts
    login_attempts: LoginAttempts = field(default_factory=LoginAttempts)
    closing: threading.Event = field(default_factory=threading.Event)

    def login_is_needed(self) -> bool:
        """Whether one has to log in: where others can reach the server, and everywhere once somebody has an account."""
        return self.settings.others_can_reach or self.accounts.any()

    @cached_property
    def curves(self) -> "Curves":
        from jobs.curves import Curves  # noqa: PLC0415  NumPy: a server does without it until a curve is looked at

        return Curves()

    def forget_curve(self, events: Path) -> None:
        """No curve, and no NumPy to load, where none was looked at."""
        if "curves" in vars(self):
            self.curves.forget(events)

    @property
    def damaged_lists(self) -> list[Path]:
        """Lists of jobs that were damaged and made anew, as long as somebody keeps their files."""
        return damaged_lists(self.settings.database)

    def start(self) -> None:
        """Begin to work: the queue, and a spare process once the first pages are out. Pictures that somebody had sent to a
        server that was killed are removed first."""
        remove_left_behind(self.settings.uploads_dir)
        self.scheduler.start()
        self.launcher.prepare(SECONDS_BEFORE_FIRST_SPARE)

    def close(self) -> None:
        """Stop what runs in this process. Workers go on."""
        self.closing.set()
        self.scheduler.close()
        self.predictions.close()
        self.explorations.close()
        self.launcher.close()
        self.store.close()
        self.accounts.close()


def services() -> Services:
    """The services of the app that answers the current request."""
    return cast("Services", current_app.extensions["layerscope"])

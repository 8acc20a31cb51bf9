"""Completion of server paths as a person types them, inside the data roots only."""

import os
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from jobs.errors import NoSuchJob
from jobs.specs import ServerPaths
from webapp.identity import may_read, visitor
from webapp.services import services

blueprint = Blueprint("paths", __name__)

MAX_SUGGESTIONS = 50


@blueprint.get("/autocomplete/path")
def complete() -> ResponseReturnValue:
    """What `query` may become; with `only=folder`, folders alone."""
    folders_only = request.args.get("only") == "folder"
    return jsonify(suggestions=suggestions(request.args.get("query", ""), server_paths(), folders_only))


def server_paths() -> ServerPaths:
    """What whoever asks may name: the data roots, the samples, and the folders of jobs that they may read."""
    service = services()
    who, settings = visitor(), service.settings
    data, jobs = settings.data_dir.resolve(), settings.jobs_dir.resolve()
    own = [folder.resolve() for folder in (settings.uploads_dir, settings.spare_dir)]

    def is_closed(real: Path) -> bool:
        if not real.is_relative_to(jobs):
            # The databases and locks beside the folders are no business of a form.
            return any(real.is_relative_to(folder) for folder in own) or (real.parent == data and not real.is_dir())
        if real == jobs:
            return False
        try:
            return not may_read(who, service.store.get(real.relative_to(jobs).parts[0]))
        except NoSuchJob:
            return True

    return replace(settings.paths, is_closed=is_closed)


def suggestions(query: str, paths: ServerPaths, folders_only: bool = False) -> list[str]:
    """Folders (with a / behind them) and files whose path begins with `query`; hidden ones when asked for by their dot.

    On the way down to a root, the root itself is offered.
    """
    text = query if query.startswith("/") else f"/{query}"
    above = sorted({f"{root}/" for root in paths.roots if str(root).startswith(text)})
    typed = Path(text)
    folder, beginning = (typed, "") if text.endswith("/") else (typed.parent, typed.name)
    if not paths.allows(folder) or not folder.is_dir():
        return above[:MAX_SUGGESTIONS]
    try:
        found = sorted(
            f"{entry.path}/" if entry.is_dir() else entry.path
            for entry in os.scandir(folder)
            if entry.name.startswith(beginning)
            and (beginning.startswith(".") or not entry.name.startswith("."))
            and (entry.is_dir() or not folders_only)
        )
    except PermissionError:
        return above
    # Links are followed for what is shown only: a folder may hold a hundred thousand pictures.
    inside = (path for path in found if path not in above and paths.allows(Path(path)))
    return list(islice(chain(above, inside), MAX_SUGGESTIONS))

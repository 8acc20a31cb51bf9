"""Completion of server paths as a person types them, inside the data roots only."""

from pathlib import Path

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from jobs.specs import ServerPaths
from webapp.services import services

blueprint = Blueprint("paths", __name__)

MAX_SUGGESTIONS = 50


@blueprint.get("/autocomplete/path")
def complete() -> ResponseReturnValue:
    return jsonify(suggestions=suggestions(request.args.get("query", ""), services().settings.paths))


def suggestions(query: str, paths: ServerPaths) -> list[str]:
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
        found = [
            path
            for path in folder.iterdir()
            if path.name.startswith(beginning) and (beginning.startswith(".") or not path.name.startswith("."))
        ]
    except PermissionError:
        return above
    inside = sorted(f"{path}/" if path.is_dir() else str(path) for path in found if paths.allows(path))
    return [*above, *(path for path in inside if path not in above)][:MAX_SUGGESTIONS]

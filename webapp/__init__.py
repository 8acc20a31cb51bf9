"""HTTP in, pages and events out."""

import logging
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, g, request, url_for
from flask.json.provider import DefaultJSONProvider
from werkzeug.middleware.proxy_fix import ProxyFix

from jobs.children import Launcher
from jobs.explorations import Explorations
from jobs.predictions import NetworkChecks, Predictions
from jobs.rebuilding import open_store
from jobs.registry import job_kinds
from jobs.resources import Resources, installed_gpus
from jobs.scheduler import Scheduler
from webapp import (
    account,
    curves,
    datasets,
    errors,
    frames,
    home,
    identity,
    job_actions,
    live,
    login,
    models,
    paths,
    predict,
)
from webapp.access import AccessCheck, policy_of_pages
from webapp.accounts import Accounts
from webapp.config import FORM_LIMIT_BYTES, UPLOAD_LIMIT_BYTES, VERSION, Settings
from webapp.forms import as_text
from webapp.identity import SocketDoor, known_visitor
from webapp.services import Services

log = logging.getLogger(__name__)

HERE = Path(__file__).parent


class StrictJSON(DefaultJSONProvider):
    """Refuses NaN and the infinities, of which a browser could read nothing, rather than send them."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(obj, allow_nan=False, **kwargs)


def create_app(settings: Settings) -> Flask:
    """The whole web side, ready to serve; its scheduler is made but does not run yet."""
    app = Flask(__name__, static_folder=str(_shipped("static")), template_folder=str(_shipped("templates")))
    app.json = StrictJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = UPLOAD_LIMIT_BYTES
    # A network of the length that its field allows, as a form encodes it.
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_LIMIT_BYTES
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    settings.make_folders()
    store = open_store(settings.database, settings.jobs_dir)
    resources = Resources(tuple(installed_gpus()))
    launcher = Launcher(settings.spare_dir, settings.containment)
    scheduler = Scheduler(settings.jobs_dir, store, resources, launcher, settings.paths)
    predictions, checks = Predictions(launcher), NetworkChecks(launcher)
    explorations, accounts = Explorations(launcher), Accounts(settings.accounts_database)
    service = Services(settings, store, resources, launcher, scheduler, predictions, checks, explorations, accounts)
    app.extensions["layerscope"] = service
    for blueprint in (login, account, home, job_actions, paths, predict, models, curves, frames, datasets):
        app.register_blueprint(blueprint.blueprint)
    errors.install(app)
    identity.install(app)
    live.install(app, service)
    _install_page_context(app)
    app.before_request(limit_body)
    # After Socket.IO has put itself in front of Flask, so that nothing is in front of these.
    app.wsgi_app = SocketDoor(app.wsgi_app, service)  # type: ignore[method-assign]
    app.wsgi_app = AccessCheck(app.wsgi_app, settings.allowed_hosts)  # type: ignore[method-assign]
    if settings.behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    return app


def _shipped(name: str) -> Path:
    """Templates and static files: in the package when it was installed from a wheel, beside it in a checkout."""
    packaged = HERE / name
    return packaged if packaged.is_dir() else HERE.parent / name


def _install_page_context(app: Flask) -> None:
    app.add_template_filter(as_text)

    @app.context_processor
    def context() -> dict[str, Any]:
        return {
            "version": VERSION,
            "menu": _menu(),
            "asset": asset,
            "style_nonce": style_nonce,
            "visitor": known_visitor(),
        }

    @app.after_request
    def protect(response: Response) -> Response:
        # Other answers get the stricter policy of AccessCheck.
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = policy_of_pages(g.get("style_nonce"))
        return response

    def asset(name: str) -> str:
        """The address of a built page script or style sheet; it changes with the file, so that browsers may keep it."""
        built = Path(str(app.static_folder)) / "dist" / name
        return url_for("static", filename=f"dist/{name}", v=built.stat().st_mtime_ns)


def limit_body() -> None:
    """Only files may be large, which go to disk as they come: everything else is read into memory at once."""
    if "Transfer-Encoding" in request.headers:
        # What is over the limit would be cut off without a word, and half a form taken for a whole one.
        abort(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is (Content-Length), and send it in one piece.")
    if request.mimetype != "multipart/form-data":
        request.max_content_length = FORM_LIMIT_BYTES


def style_nonce() -> str:
    """The word that marks the styles which the editor of this one page makes as ours. Other pages need none."""
    if "style_nonce" not in g:
        g.style_nonce = secrets.token_urlsafe(16)
    nonce: str = g.style_nonce
    return nonce


def _menu() -> dict[str, list[dict[str, str]]]:
    """The "new" menus: every installed kind of dataset and of model."""
    menu: dict[str, list[dict[str, str]]] = {"dataset": [], "model": []}
    for kind in job_kinds().values():
        url = url_for(f"{kind.family}s.new", url=kind.url)
        menu[kind.family].append({"category": kind.category, "label": kind.label, "url": url})
    return menu

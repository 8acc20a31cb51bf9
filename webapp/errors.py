"""One handler for what goes wrong, as a page or as JSON."""

import logging
from http import HTTPStatus

from flask import Flask, jsonify, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from jobs.errors import (
    BadImage,
    BadNetwork,
    EnvironmentFault,
    LayerscopeError,
    NoSuchJob,
    Refused,
    UserError,
    disk_fault,
)
from webapp.identity import LoginNeeded

log = logging.getLogger(__name__)

METHODS_OF_PAGES = ("GET", "HEAD", "POST")

# The first class that fits decides.
ANSWERS: tuple[tuple[type[LayerscopeError], HTTPStatus, str], ...] = (
    (
        LoginNeeded,
        HTTPStatus.UNAUTHORIZED,
        "Log in and try again. A program sends a token: Authorization: Bearer TOKEN.",
    ),
    (NoSuchJob, HTTPStatus.NOT_FOUND, "Go to the home page to see the jobs that there are."),
    (Refused, HTTPStatus.FORBIDDEN, "Nothing was changed."),
    (BadNetwork, HTTPStatus.BAD_REQUEST, "Mend the network and try again."),
    (BadImage, HTTPStatus.BAD_REQUEST, "Choose another picture and try again."),
    (UserError, HTTPStatus.BAD_REQUEST, "Change what the message names and try again."),
    (EnvironmentFault, HTTPStatus.INTERNAL_SERVER_ERROR, "See to what the message names, then try again."),
    (LayerscopeError, HTTPStatus.INTERNAL_SERVER_ERROR, "The log of the job has the details."),
)


class FormErrors(Exception):
    """What is wrong with the fields of a form that was sent as JSON or to a JSON address."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        self.errors = errors


def wants_json() -> bool:
    """DIGITS's rule: the address ends in .json, or Accept ranks JSON strictly above HTML."""
    accepted = request.accept_mimetypes
    return request.path.endswith(".json") or accepted["application/json"] > accepted["text/html"]


def comes_from_a_script() -> bool:
    """No form of a page sends JSON or any other method, and a browser that sends one names HTML: nobody would see a page."""
    sends_no_form = request.is_json or request.method not in METHODS_OF_PAGES
    names_html = "text/html" in request.accept_mimetypes.values()
    return sends_no_form or (request.method == "POST" and not names_html)


def answer_error(error: Exception, status: int, advice: str) -> ResponseReturnValue:
    message = str(error.description) if isinstance(error, HTTPException) else str(error)
    if wants_json() or comes_from_a_script():
        body: dict[str, object] = {"message": message, "type": type(error).__name__, "description": advice}
        if isinstance(error, BadNetwork):
            body |= {"line": error.line, "layer": error.layer}
        return jsonify(error=body), status
    title = error.name if isinstance(error, HTTPException) else HTTPStatus(status).phrase
    return render_template("error.html", title=title, message=message, advice=advice, status=status), status


def install(app: Flask) -> None:
    @app.errorhandler(LayerscopeError)
    def _ours(error: LayerscopeError) -> ResponseReturnValue:
        status, advice = next((status, advice) for kind, status, advice in ANSWERS if isinstance(error, kind))
        return answer_error(error, status, advice)

    @app.errorhandler(LoginNeeded)
    def _login(error: LoginNeeded) -> ResponseReturnValue:
        is_a_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")
        if is_a_page and not wants_json():
            return redirect(url_for("login.show", next=request.full_path.removesuffix("?")))
        response = make_response(_ours(error))
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.errorhandler(FormErrors)
    def _form(error: FormErrors) -> ResponseReturnValue:
        return jsonify(errors=error.errors), HTTPStatus.BAD_REQUEST

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> ResponseReturnValue:
        if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
            return error.get_response()
        return answer_error(error, error.code, "Check the address, or go back to the home page.")

    @app.errorhandler(Exception)
    def _bug(error: Exception) -> ResponseReturnValue:
        if of_disk := disk_fault(error):
            return _ours(EnvironmentFault(of_disk.sentence))
        log.exception("A request failed.")
        fault = RuntimeError(
            f"This is a fault of Layerscope: {type(error).__name__}. The server's log has the details."
        )
        return answer_error(
            fault, HTTPStatus.INTERNAL_SERVER_ERROR, "Try again; if it comes back, report it with the log."
        )

"""Login and logout. Where nobody has an account, a name is a label on the jobs that one makes, as it was in DIGITS."""

import math
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp.accounts import SESSION_SECONDS, checked_name
from webapp.errors import wants_json
from webapp.identity import LABEL_COOKIE, SESSION_COOKIE, is_local_path, visitor
from webapp.login_attempts import key_of_address, key_of_name
from webapp.services import services

blueprint = Blueprint("login", __name__)

WRONG = "This name and this password do not belong together. Check both and try again."


@blueprint.get("/login")
def show() -> ResponseReturnValue:
    return _page()


@blueprint.post("/login")
def log_in() -> ResponseReturnValue:
    """`username` and `password`; without accounts `username` alone. Then on to `next`."""
    name = request.values.get("username", "").strip().lower()
    if not services().login_is_needed():
        return _remember(_on_to_next(checked_name(name)), LABEL_COOKIE, name)
    address = request.remote_addr or ""
    keys = [key_of_address(address)]
    if not services().accounts.has_logged_in_from(name, address):
        # Else anybody could keep a person out by guessing at the name.
        keys.append(key_of_name(name))
    if wait := services().login_attempts.begin(keys):
        response = make_response(_refusal(too_many_attempts(wait), HTTPStatus.TOO_MANY_REQUESTS))
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response
    browser = request.user_agent.string
    secret = services().accounts.log_in(name, request.form.get("password", ""), browser, address)
    if secret is None:
        return _refusal(WRONG, HTTPStatus.UNAUTHORIZED)
    services().login_attempts.succeeded(keys)
    return _remember(_on_to_next(name), SESSION_COOKIE, secret)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    session = visitor().session
    if session is not None:
        services().accounts.end_session(session)
    response = make_response(redirect(_next()))
    for cookie in (SESSION_COOKIE, LABEL_COOKIE):
        response.delete_cookie(cookie)
    return response


def _remember(response: Response, cookie: str, value: str) -> Response:
    response.set_cookie(
        cookie, value, max_age=int(SESSION_SECONDS), httponly=True, samesite="Lax", secure=request.is_secure
    )
    return response


def _on_to_next(name: str) -> Response:
    return jsonify(username=name) if wants_json() else make_response(redirect(_next()))


def _next() -> str:
    wanted = request.values.get("next", "")
    return wanted if is_local_path(wanted) else url_for("home.index")


def too_many_attempts(wait: float) -> str:
    seconds = math.ceil(wait)
    return f"There were too many attempts. Try again in {seconds} second{'s' if seconds > 1 else ''}."


def _refusal(sentence: str, status: HTTPStatus) -> ResponseReturnValue:
    if wants_json():
        return jsonify(error={"message": sentence, "type": status.phrase}), status
    return _page(sentence), status


def _page(fault: str = "") -> str:
    return render_template("login.html", fault=fault, next=_next(), name=request.values.get("username", ""),
                           with_password=services().login_is_needed())  # fmt: skip

"""A person's own account: password, sessions, API tokens."""

from http import HTTPStatus

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from jobs.errors import Refused, UserError
from webapp.accounts import SHORTEST_PASSWORD, Credential, CredentialKind
from webapp.errors import wants_json
from webapp.identity import visitor
from webapp.login import too_many_attempts
from webapp.services import services

blueprint = Blueprint("account", __name__, url_prefix="/account")

# What the page says after something was done, by the word in its address.
DONE = {
    "password": "The password was changed. All other sessions have ended; API tokens are as they were.",
    "password-and-tokens": "The password was changed. All other sessions have ended, and all API tokens are revoked.",
    "sessions": "All other sessions have ended.",
    "token": "The token was revoked.",
}


@blueprint.get("")
def show() -> ResponseReturnValue:
    return _page(_session())


@blueprint.post("/password")
def change_password() -> ResponseReturnValue:
    """Change the password from `current` to `password`. Every other session ends; with `revoke_tokens=1` every token, too."""
    session = _session()
    accounts, name, fields = services().accounts, session.user.name, request.form
    keys = [("change of password", name)]
    if wait := services().login_attempts.begin(keys):
        return _fault(session, too_many_attempts(wait))
    if not accounts.is_password(name, fields.get("current", "")):
        return _fault(session, "The current password is another one. Nothing was changed.")
    services().login_attempts.succeeded(keys)
    if fields.get("password", "") != fields.get("again", ""):
        return _fault(session, "The new password and its repetition differ. Nothing was changed.")
    revoke_tokens = fields.get("revoke_tokens") == "1"
    try:
        accounts.set_password(name, fields.get("password", ""), session, revoke_tokens)
    except UserError as error:
        return _fault(session, str(error))
    return _done("password-and-tokens" if revoke_tokens else "password")


@blueprint.post("/end-other-sessions")
def end_other_sessions() -> ResponseReturnValue:
    services().accounts.end_other_sessions(_session())
    return _done("sessions")


@blueprint.post("/tokens")
def make_token() -> ResponseReturnValue:
    """Make an API token, described by `description`. This answer is the only place where it can be read."""
    session = _session()
    try:
        token = services().accounts.add_token(session.user.name, request.form.get("description", ""))
    except UserError as error:
        return _fault(session, str(error))
    return jsonify(token=token) if wants_json() else _page(session, token=token)


@blueprint.post("/tokens/<int:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    if not services().accounts.revoke_token(_session().user.name, token_id):
        abort(HTTPStatus.NOT_FOUND, "You have no such token. It may have been revoked already.")
    return _done("token")


def _session() -> Credential:
    """The session of whoever asks. A token must not be able to make another, or to change the password."""
    who = visitor()
    if who.credential is None:
        abort(HTTPStatus.NOT_FOUND, "Nobody has an account here. `layerscope user add NAME` makes the first one.")
    if who.session is None:
        raise Refused("An API token cannot do this. Log in with your password.")
    return who.session


def _page(session: Credential, fault: str = "", token: str = "") -> str:
    accounts, name = services().accounts, session.user.name
    return render_template(
        "account.html",
        session=session,
        sessions=accounts.credentials_of(name, CredentialKind.SESSION),
        tokens=accounts.credentials_of(name, CredentialKind.TOKEN),
        shortest=SHORTEST_PASSWORD,
        fault=fault,
        token=token,
        done=DONE.get(request.args.get("done", "")),
    )


def _done(what: str) -> ResponseReturnValue:
    return jsonify(message=DONE[what]) if wants_json() else redirect(url_for("account.show", done=what))


def _fault(session: Credential, sentence: str) -> ResponseReturnValue:
    if wants_json():
        raise UserError(sentence)
    return _page(session, fault=sentence), HTTPStatus.BAD_REQUEST

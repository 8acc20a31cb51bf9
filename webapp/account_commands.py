"""`layerscope user` and `layerscope token`: accounts from the command line, beside a server that runs or without one."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import click

from jobs.errors import LayerscopeError
from webapp.accounts import Accounts, Credential, CredentialKind, Role, checked_name, checked_password
from webapp.config import Settings, default_data_dir

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    envvar="LAYERSCOPE_DATA_DIR",
    default=default_data_dir,
    help="Where jobs and accounts are kept. Default: this user's data directory.",
)
password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input, and ask nothing."
)


@contextmanager
def _accounts(data_dir: Path) -> Iterator[Accounts]:
    """The accounts of a data directory; what goes wrong with them in a sentence."""
    settings = Settings(data_dir)
    try:
        settings.make_folders()
        with closing(Accounts(settings.accounts_database)) as accounts:
            yield accounts
    except LayerscopeError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(
            f"The accounts in {data_dir} cannot be used: {error}. Run this as the user who runs the server."
        ) from error


def _ask_password(name: str, from_stdin: bool) -> str:
    if from_stdin:
        return checked_password(sys.stdin.readline().rstrip("\r\n"), name)

    def checked(typed: str) -> str:
        try:
            return checked_password(typed, name)
        except LayerscopeError as error:
            raise click.UsageError(str(error)) from error

    password: str = click.prompt(
        f"Password for {name}", hide_input=True, confirmation_prompt="The same again", value_proc=checked
    )
    return password


@click.group()
def user() -> None:
    """People who may log in. What is changed here holds at once, for a server that runs, too."""


@user.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May change everybody's jobs. The first account always may.")
@password_option
@data_dir_option
def add_user(name: str, admin: bool, password_stdin: bool, data_dir: Path) -> None:
    """Make an account; its password is asked for."""
    with _accounts(data_dir) as accounts:
        checked_name(name)
        added = accounts.add(name, _ask_password(name, password_stdin), Role.ADMIN if admin else Role.MEMBER)
    click.echo(f"{name} can log in now, as {_with_article(added.role)}.")


@user.command("list")
@data_dir_option
def list_users(data_dir: Path) -> None:
    """Show every account."""
    with _accounts(data_dir) as accounts:
        users = accounts.users()
    for one in users:
        click.echo(f"{one.name}  {one.role}  since {_day(one.created)}")
    if not users:
        click.echo("Nobody has an account. `layerscope user add NAME` makes the first one.")


@user.command("password")
@click.argument("name")
@click.option("--revoke-tokens", is_flag=True, help="End the API tokens of the account, too.")
@password_option
@data_dir_option
def set_password(name: str, revoke_tokens: bool, password_stdin: bool, data_dir: Path) -> None:
    """Give an account another password, and end its sessions."""
    with _accounts(data_dir) as accounts:
        accounts.user(name)
        accounts.set_password(name, _ask_password(name, password_stdin), revoke_tokens=revoke_tokens)
    tokens = "No API token is good any more." if revoke_tokens else "API tokens stay: --revoke-tokens ends them, too."
    click.echo(f"{name} has a new password, and has to log in anew everywhere. {tokens}")


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@data_dir_option
def set_role(name: str, role: str, data_dir: Path) -> None:
    """Make an account an admin's or a member's, and end its sessions."""
    with _accounts(data_dir) as accounts:
        accounts.set_role(name, Role(role))
    click.echo(f"{name} is {_with_article(Role(role))} now, and has to log in anew.")


@user.command("remove")
@click.argument("name")
@data_dir_option
def remove_user(name: str, data_dir: Path) -> None:
    """Remove an account with its sessions and API tokens. Jobs stay."""
    with _accounts(data_dir) as accounts:
        accounts.remove(name)
        is_last = not accounts.any()
    click.echo(f"{name} cannot log in any more. Jobs of {name} stay; a new account of that name would have them again.")
    if is_last:
        click.echo("That was the last account: a server that serves this machine alone asks for no login now.")


@click.group()
def token() -> None:
    """API tokens, for programs: they send one as `Authorization: Bearer TOKEN`."""


@token.command("add")
@click.argument("name")
@click.argument("description")
@data_dir_option
def add_token(name: str, description: str, data_dir: Path) -> None:
    """Make a token for the account NAME and print it. It cannot be shown again."""
    with _accounts(data_dir) as accounts:
        click.echo(accounts.add_token(name, description))


@token.command("list")
@click.argument("name")
@data_dir_option
def list_tokens(name: str, data_dir: Path) -> None:
    """Show the tokens of an account, by number."""
    with _accounts(data_dir) as accounts:
        accounts.user(name)
        tokens = accounts.credentials_of(name, CredentialKind.TOKEN)
    for one in tokens:
        click.echo(f"{one.id}  {_day(one.created)}  last used {_last_use(one)}  {one.description}")
    if not tokens:
        click.echo(f"{name} has no tokens.")


@token.command("revoke")
@click.argument("name")
@click.argument("number", type=int)
@data_dir_option
def revoke_token(name: str, number: int, data_dir: Path) -> None:
    """End a token, by its number in the list."""
    with _accounts(data_dir) as accounts:
        if not accounts.revoke_token(accounts.user(name).name, number):
            raise click.ClickException(f"{name} has no token {number}. `layerscope token list {name}` shows them.")
    click.echo("The token is good no more.")


def _with_article(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d}"


def _last_use(one: Credential) -> str:
    return "never" if one.last_used == one.created else _day(one.last_used)

"""The command `layerscope`."""

import errno
import ipaddress
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, get_args

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from jobs.backup import Part, back_up, restore
from jobs.containment.confinement import Mode, Policy
from jobs.containment.limits import GIB, memory_for_children
from jobs.errors import EnvironmentFault, LayerscopeError
from jobs.folder import take_lock
from jobs.processes import try_out
from jobs.rebuilding import open_store
from webapp import create_app
from webapp.account_commands import data_dir_option, token, user
from webapp.accounts import WITHOUT_SESSIONS, Accounts
from webapp.config import LOOPBACK_HOSTS, THREADS, VERSION, Settings
from webapp.doctor import examine
from webapp.image_url import ImagesOfTheWeb
from webapp.logs import GunicornLogger, start_logging

SHUTDOWN_GRACE_SECONDS = 2
LEAST_MEMORY_GIB = 1.0  # torch alone takes a good part of that
PREDECESSOR_SECONDS = 5  # what is left of a server that was killed ends by itself within this time


MEMORY_LIMIT = click.option(
    "--memory-limit",
    type=click.FloatRange(min=LEAST_MEMORY_GIB),
    envvar="LAYERSCOPE_MEMORY_LIMIT",
    metavar="GIB",
    callback=lambda context, option, value: memory_for_children() if value is None else int(value * GIB),
    help="How many GiB a training or a test on the CPU may take. Default: nine tenths of the machine's.",
)


@click.group()
@click.version_option(VERSION)
def main() -> None:
    """Make an image dataset, paste a network, watch every layer learn, test it: in the browser."""


@main.command()
@click.option("--host", default="127.0.0.1", envvar="LAYERSCOPE_HOST", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, envvar="LAYERSCOPE_PORT", show_default=True, help="0: any free port.")
@data_dir_option
@click.option("--data-root", "data_roots", multiple=True, envvar="LAYERSCOPE_DATA_ROOT",
              type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
              help="A folder that forms may name; repeatable. Default: the home folder and the current one.")  # fmt: skip
@click.option("--allow-host", "allowed_hosts", multiple=True, envvar="LAYERSCOPE_ALLOW_HOST",
              help="A name by which browsers may reach this server, beside the loopback ones; repeatable.")  # fmt: skip
@click.option("--sandbox", default="auto", type=click.Choice(get_args(Mode)), envvar="LAYERSCOPE_SANDBOX",
              show_default=True, help="Contain pasted networks: as far as this machine can; require: not start where it "
              "cannot; off: not at all.")  # fmt: skip
@MEMORY_LIMIT
@click.option("--allow-image-url", is_flag=True, envvar="LAYERSCOPE_ALLOW_IMAGE_URL",
              help="Let Test One fetch pictures from public addresses of the web.")  # fmt: skip
@click.option("--behind-proxy", is_flag=True, envvar="LAYERSCOPE_BEHIND_PROXY",
              help="Requests come through a proxy, which says whose in X-Forwarded-For and X-Forwarded-Proto.")  # fmt: skip
def serve(host: str, port: int, data_dir: Path, data_roots: tuple[Path, ...], allowed_hosts: tuple[str, ...],
          sandbox: Mode, memory_limit: int, allow_image_url: bool, behind_proxy: bool) -> None:  # fmt: skip
    """Serve the web application: on this machine alone, or to others who have an account."""
    start_logging()
    settings = Settings(
        data_dir=data_dir,
        data_roots=data_roots or (Path.home(), Path.cwd()),
        allowed_hosts=(*LOOPBACK_HOSTS, *allowed_hosts),
        sandbox=sandbox,
        memory_limit=memory_limit,
        images_of_the_web=ImagesOfTheWeb() if allow_image_url else None,
        # A proxy is there to hand on what others ask.
        others_can_reach=behind_proxy or not _is_loopback(host),
        behind_proxy=behind_proxy,
    )
    click.echo(f"Layerscope {VERSION}: data in {settings.data_dir}")
    with _using(settings):
        settings.make_folders()
        Accounts(settings.accounts_database).close()
        with tempfile.TemporaryFile(dir=settings.jobs_dir):
            pass
    check_sandbox(settings.containment)
    _check_address(host, port)
    _check_accounts(settings, host)
    with _hold_data_dir(settings):
        with _using(settings):
            open_store(settings.database, settings.jobs_dir).close()
        Server(settings, host, port).run()


def check_sandbox(policy: Policy) -> None:
    """Refuse to start where pasted code cannot be contained and the person wants that it is."""
    if policy.mode != "require":
        return
    try:
        with tempfile.TemporaryDirectory() as scratch:
            missing = try_out(replace(policy, mode="auto"), Path(scratch)).missing
    except (OSError, EnvironmentFault) as error:
        raise click.ClickException(f"Whether pasted code can be contained here cannot be found out: {error}") from error
    if missing:
        sentences = " ".join(f"{protection.name.capitalize()}: {protection.text}" for protection in missing)
        raise click.ClickException(
            f"--sandbox require asks for what this machine does not offer. {sentences} "
            '"layerscope doctor" shows all of it; --sandbox auto contains pasted code as far as it can be.'
        )


@main.command("doctor")
@data_dir_option
@MEMORY_LIMIT
def doctor_command(data_dir: Path, memory_limit: int) -> None:
    """Say what this machine offers to Layerscope, and what it lacks."""
    settings = Settings(data_dir, memory_limit=memory_limit)
    findings = list(examine(settings))
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.state:6} {finding.what:{width}}  {finding.text}")
    if any(finding.state == "fails" for finding in findings):
        raise click.exceptions.Exit(1)


def _parts(settings: Settings) -> tuple[Part, ...]:
    """What belongs in a copy of a data directory. Sessions do not: who has logged out must not be let in again."""
    return Part(settings.database, "jobs"), Part(settings.accounts_database, "users", WITHOUT_SESSIONS)


@main.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_dir_option
def backup_command(file: Path, data_dir: Path) -> None:
    """Copy the list of jobs and the accounts to FILE, also while a server runs.

    What the jobs have made lies in the folder `jobs` of the data directory: copy that, too.
    """
    settings = Settings(data_dir)
    with _using(settings):
        jobs, users = back_up(_parts(settings), file.resolve())
    click.echo(f"Jobs: {jobs:,}, accounts: {users:,}, in {file}. What the jobs have made is in {settings.jobs_dir}.")


@main.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@data_dir_option
def restore_command(file: Path, data_dir: Path) -> None:
    """Put a copy that `layerscope backup` made in the place of the list of jobs and of the accounts. No server may run.

    What became of jobs since is taken from their folders when the server starts. Everybody has to log in anew.
    """
    settings = Settings(data_dir)
    with _using(settings):
        settings.make_folders()
        with _hold_data_dir(settings):
            put_back = restore(file.resolve(), _parts(settings))
    for database, before in put_back.items():
        click.echo(f"Restored {database}." + (f" What was there before is kept as {before}." if before else ""))
    if settings.accounts_database in put_back:
        click.echo("Accounts, passwords and API tokens are those of the copy, also where they were taken away since.")
    else:
        click.echo("There are no accounts in the copy: they are left as they are.")


@contextmanager
def _using(settings: Settings) -> Iterator[None]:
    """Refuse in a sentence where nothing can be kept. gunicorn would only say that its worker did not boot."""
    try:
        yield
    except (OSError, sqlite3.Error, LayerscopeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise click.ClickException(
            f"The data directory {settings.data_dir} cannot be used: {reason.rstrip('.')}. "
            "Mend that, or name another one with --data-dir."
        ) from error


def _is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach what listens there. What is no address of anything is not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _check_accounts(settings: Settings, host: str) -> None:
    """Say who gets in; refuse to start where anybody would, since who gets in can run programs here."""
    with closing(Accounts(settings.accounts_database)) as accounts:
        users = len(accounts.users())
    if users:
        click.echo(
            f"Login: with one of {users} accounts." if users > 1 else "Login: with the one account that there is."
        )
    elif settings.others_can_reach:
        raise click.ClickException(
            f"Others can reach {host}{', through the proxy' if settings.behind_proxy else ''}, and nobody has an account: "
            "whoever opened the page could run programs on this machine. Make an account first, with the same --data-dir: "
            "layerscope user add NAME. Or leave --host and --behind-proxy out, to serve this machine alone."
        )
    else:
        click.echo("Login: none; only this machine is served. `layerscope user add NAME` makes it ask for a password.")
        if other_names := set(settings.allowed_hosts) - set(LOOPBACK_HOSTS):
            click.echo(
                f"Nor does who reaches it as {', '.join(sorted(other_names))} need a password. If a proxy hands on what others "
                "ask, say so: --behind-proxy."
            )
    if settings.behind_proxy and not _is_loopback(host):
        click.echo(
            f"Let only the proxy reach {host}: whoever comes past it can say of any address that it is theirs, and sends "
            "passwords as they are typed."
        )


def _hold_data_dir(settings: Settings) -> BinaryIO:
    """Keep other servers away from the data directory for as long as the returned file is open, here or in a fork."""
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while (lock := take_lock(settings.data_dir / "server.lock")) is None:
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"Another Layerscope serves {settings.data_dir}. Open that one, or stop it, or name another data "
                "directory with --data-dir."
            )
        time.sleep(0.1)
    return lock


def _check_address(host: str, port: int) -> None:
    """Refuse to start where nobody could be answered. gunicorn would try again and again."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            # As gunicorn does: connections of a server that has just ended do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "another program listens there" if in_use else error.strerror or str(error)
        raise click.ClickException(
            f"Port {port} of {host} cannot be served: {reason}. "
            "If that is Layerscope already, open it; else choose another port with --port, or --port 0 for any free one."
        ) from error


@main.command("download-data")
@click.argument("name", type=click.Choice(["mnist", "fashion-mnist", "cifar10", "cifar100"]))
@click.argument("destination", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "source", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Take the dataset's files from this folder instead of downloading them.")  # fmt: skip
def download_data_command(name: str, destination: Path, source: Path | None) -> None:
    """Write a well-known dataset as class folders of PNG, with train.txt, test.txt and labels.txt."""
    from webapp.downloads import download_data  # noqa: PLC0415  imports torch, which the server must not

    with click.progressbar(length=1000, label=f"Writing {name}") as bar:

        def show(done: int, total: int) -> None:
            bar.update(1000 * done // total - bar.pos)

        try:
            download_data(name, destination, source, show)
        except LayerscopeError as error:
            raise click.ClickException(str(error)) from error


main.add_command(user)
main.add_command(token)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker: rooms, queue and warm predictors live in one process."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._settings = settings
        # A colon within an address would be taken for that before the port.
        self._bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": [self._bind],
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "timeout": 120,
            # An open page asks for every frame of a training: with gunicorn's 2 seconds, each time on a new connection.
            "keepalive": 75,
            "graceful_timeout": SHUTDOWN_GRACE_SECONDS,
            "control_socket_disable": True,
            # What a proxy says of a request is read by the app, where --behind-proxy says that there is one.
            "forwarded_allow_ips": "",
            "worker_exit": _close,
            "logger_class": GunicornLogger,
            "proc_name": "layerscope",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = create_app(self._settings)
        app.extensions["layerscope"].start()
        return app


def _close(arbiter: Any, worker: Any) -> None:
    if not isinstance(worker.wsgi, Flask):
        return
    worker.wsgi.extensions["layerscope"].close()
    # Python would wait for the threads of open sockets, for as long as their pages are open: where nobody is left to kill
    # this process, they would hear nothing any more and take it for calm.
    os._exit(0)


if __name__ == "__main__":
    main()

"""The command `layerscope`."""

import logging
from pathlib import Path
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from jobs.errors import LayerscopeError
from webapp import create_app
from webapp.config import LOOPBACK_HOSTS, VERSION, Settings, default_data_dir

THREADS = 256  # every open page holds one for its socket
SHUTDOWN_GRACE_SECONDS = 2


@click.group()
@click.version_option(VERSION)
def main() -> None:
    """Make an image dataset, paste a network, watch every layer learn, test it: in the browser."""


@main.command()
@click.option("--host", default="127.0.0.1", envvar="LAYERSCOPE_HOST", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, envvar="LAYERSCOPE_PORT", show_default=True, help="0: any free port.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), envvar="LAYERSCOPE_DATA_DIR",
              help="Where jobs are kept. Default: this user's data directory.")  # fmt: skip
@click.option("--data-root", "data_roots", multiple=True, envvar="LAYERSCOPE_DATA_ROOT",
              type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
              help="A folder that forms may name; repeatable. Default: the home folder and the current one.")  # fmt: skip
@click.option("--allow-host", "allowed_hosts", multiple=True, envvar="LAYERSCOPE_ALLOW_HOST",
              help="A name by which browsers may reach this server, beside the loopback ones; repeatable.")  # fmt: skip
def serve(host: str, port: int, data_dir: Path | None, data_roots: tuple[Path, ...],
          allowed_hosts: tuple[str, ...]) -> None:  # fmt: skip
    """Serve the web application."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(message)s")
    settings = Settings(
        data_dir=(data_dir or default_data_dir()).resolve(),
        data_roots=data_roots or (Path.home(), Path.cwd()),
        allowed_hosts=(*LOOPBACK_HOSTS, *allowed_hosts),
    )
    click.echo(f"Layerscope {VERSION}: data in {settings.data_dir}")
    Server(settings, host, port).run()


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


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker: rooms, queue and warm predictors live in one process."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._settings = settings
        self._bind = f"{host}:{port}"
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": [self._bind],
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "timeout": 120,
            "graceful_timeout": SHUTDOWN_GRACE_SECONDS,
            "control_socket_disable": True,
            "worker_exit": _close,
            "proc_name": "layerscope",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = create_app(self._settings)
        app.extensions["layerscope"].scheduler.start()
        return app


def _close(arbiter: Any, worker: Any) -> None:
    if isinstance(worker.wsgi, Flask):
        worker.wsgi.extensions["layerscope"].close()


if __name__ == "__main__":
    main()

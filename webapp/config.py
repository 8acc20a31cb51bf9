"""Settings of a server: what `layerscope serve` was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import platformdirs

from jobs.containment.confinement import Mode, Policy
from jobs.containment.limits import memory_for_children
from jobs.specs import ServerPaths
from webapp.image_url import ImagesOfTheWeb

VERSION = version("layerscope")
THREADS = 512
# Every open page holds a thread for its socket. The others answer; pages beyond ask every two seconds instead.
MOST_SOCKETS = 448
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
UPLOAD_LIMIT_BYTES = 64 * 2**20
FORM_LIMIT_BYTES = 8 * 2**20


def default_data_dir() -> Path:
    return platformdirs.user_data_path("layerscope")


@dataclass(frozen=True)
class Settings:
    """`data_roots` are the folders that forms may name on the server, beside those of jobs. `others_can_reach`: the server
    listens to other machines, or a proxy does for it. `behind_proxy`: each request comes through one that says whose it is."""

    data_dir: Path
    data_roots: Sequence[Path] = ()
    allowed_hosts: Sequence[str] = field(default=LOOPBACK_HOSTS)
    sandbox: Mode = "auto"
    # Bytes that a child on the CPU may take.
    memory_limit: int = field(default_factory=memory_for_children)
    # How Test One fetches a picture by its address on the web; None: not at all.
    images_of_the_web: ImagesOfTheWeb | None = None
    others_can_reach: bool = False
    behind_proxy: bool = False

    most_sockets: int = MOST_SOCKETS

    @property
    def jobs_dir(self) -> Path:
        return self.data_dir / "jobs"

    @property
    def uploads_dir(self) -> Path:
        """Pictures that a person sent, for as long as a predictor needs them."""
        return self.data_dir / "uploads"

    @property
    def spare_dir(self) -> Path:
        """The home of the process that waits for its order."""
        return self.data_dir / "spare"

    @property
    def samples_dir(self) -> Path:
        """Pictures that Layerscope made for "Try it with handwritten digits"."""
        return self.data_dir / "samples"

    @property
    def database(self) -> Path:
        return self.data_dir / "layerscope.sqlite"

    @property
    def accounts_database(self) -> Path:
        return self.data_dir / "accounts.sqlite"

    @property
    def paths(self) -> ServerPaths:
        """What forms may name, and workers read of what they name; webapp.paths leaves out what is not for everybody."""
        roots = (*self.data_roots, self.jobs_dir, self.samples_dir)
        return ServerPaths(roots, never_whole=(self.data_dir, self.jobs_dir))

    @property
    def containment(self) -> Policy:
        """What children may do; of the data directory they get no more than their own job needs."""
        return Policy(self.sandbox, self.memory_limit, self.data_dir.resolve())

    def make_folders(self) -> None:
        # Other users of the machine have no business in it: jobs may be private.
        self.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        for folder in (self.jobs_dir, self.uploads_dir, self.samples_dir):
            folder.mkdir(parents=True, exist_ok=True)

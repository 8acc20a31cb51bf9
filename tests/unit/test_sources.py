"""What no file of the product may do, whatever else it does: looked for in the sources themselves."""

import ast
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("jobs", "webapp") for path in (REPOSITORY / folder).rglob("*.py"))
NEVER_IMPORTED = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "code", "pdb", "pty",
    "telnetlib", "ftplib", "tarfile", "zipfile", "transformers", "huggingface_hub", "requests",
}  # fmt: skip
# The one file that looks at each entry of an archive, and the command `backup`, which makes one.
IMPORTED_ALL_THE_SAME = {"jobs/unpacking.py": {"tarfile", "zipfile"}, "jobs/backup.py": {"zipfile"}}
# They write wherever an archive says: Python's, and torchvision's helpers.
UNPACK_BY_THEMSELVES = (
    ".extract", ".extractall", "extract_archive", "unpack_archive", "download_and_extract_archive",
)  # fmt: skip
NEVER_CALLED = {
    "eval", "__import__", "breakpoint", "os.system", "os.popen", "os.execvp", "torch.hub.load", "subprocess.getoutput",
    "subprocess.getstatusoutput", "app.run", "run_simple", "tempfile.mktemp",
}  # fmt: skip
# Running the text of a network is what its process is for.
RUNS_NETWORKS = "jobs/networks/contract.py"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, by the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> object:
    """The constant that a call gives to an argument by its name."""
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_source_unpickles_runs_text_or_opens_a_shell(path: Path) -> None:
    never_imported = NEVER_IMPORTED - IMPORTED_ALL_THE_SAME.get(str(path.relative_to(REPOSITORY)), set())
    for node in ast.walk(ast.parse(path.read_text())):
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            names = {node.module or ""}
        assert not {name.split(".")[0] for name in names} & never_imported, ast.unparse(node)
    for name, call in calls(path):
        assert name not in NEVER_CALLED, ast.unparse(call)
        assert not name.endswith(UNPACK_BY_THEMSELVES), "an archive says itself where that would write"
        assert given(call, "shell") in (None, False), ast.unparse(call)
        assert given(call, "allow_pickle") in (None, False), ast.unparse(call)
        assert given(call, "debug") in (None, False), ast.unparse(call)
        assert given(call, "trust_remote_code") is None, ast.unparse(call)
        if name.startswith("subprocess."):
            assert not (call.args and isinstance(call.args[0], ast.Constant | ast.JoinedStr)), "a command is a list"
        if name == "ZipFile" and path.name != "unpacking.py":
            assert ast.unparse(call.args[1]) == "'w'", "an archive is read in one place"
        if name == "exec":
            assert str(path.relative_to(REPOSITORY)) == RUNS_NETWORKS
        if name == "torch.load":
            assert given(call, "weights_only") is True, ast.unparse(call)


def test_what_weights_only_promises_holds_in_this_torch() -> None:
    """Before 2.10 a file could get around it."""
    assert tuple(map(int, version("torch").split("+")[0].split(".")[:2])) >= (2, 10)


def test_templates_escape_everything() -> None:
    for template in (REPOSITORY / "templates").rglob("*"):
        assert template.is_dir() or template.suffix == ".html", "Flask escapes in files of this name"

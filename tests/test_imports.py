"""What may import what, and what the repository may say: the rules that no single file can show.

`training -> model`, `service -> model`, nothing back, and service and training never meet. The serving path
must run where only the base dependencies are installed.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model", "training", "service")

# The only files of model/ that may reach torch or onnx, by design: the network as torch modules, and what
# writes its ONNX graphs. A name is added when the file could not do its work otherwise.
TORCH_SIDE = {"model.char_cnn", "model.bilm", "model.softmax", "model.scalar_mix_torch"}
TORCH_SIDE |= {"model.imports.manylangs"}  # reads its pickles
ONNX_SIDE = {"model.graph", "model.graph_builder", "model.context_graph", "model.direction_graph"}
ONNX_SIDE |= {"model.int8_graph"}

# The readers of published checkpoints, which only `polyseme-train import` reaches.
HDF5_SIDE = {"model.imports.allennlp"}

# Come with pydantic and starlette, whose documentation has them imported under these names.
BROUGHT_ALONG = {"pydantic_core", "typing_extensions", "anyio"}

# Come with an extra, and are imported inside of functions, when an operator asks for what they do.
EXTRAS = {"service.tracing": {"opentelemetry"}, "service.ray_app": {"ray"}}
EXTRAS |= {"service.bulk.ray_engine": {"ray"}, "service.bulk.hdf5_shard": {"h5py"}}
EXTRAS |= {"service.bulk.progress": {"tqdm"}, "service.bulk.kept": {"pyarrow"}}
EXTRAS |= {"service.bulk.parquet_rows": {"pyarrow"}, "service.bulk.parquet_shard": {"pyarrow"}}
EXTRAS |= {"service.commands.completion": {"argcomplete"}}


def module_name(path: Path) -> str:
    """Return the dotted name under which a file of the repository is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    """Return every module of the three packages, by dotted name."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {module_name(path): path for path in paths}


def imported_names(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Yield the absolute names that a module imports anywhere, also inside functions.

    `from a.b import c` gives `a.b` and `a.b.c`: the source does not say whether c is a module.
    """
    parts = module.split(".")
    package = parts if is_package else parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package[: len(package) - (node.level - 1)]
                base = ".".join([*kept, base] if base else kept)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph() -> dict[str, set[str]]:
    """Return what each of our modules imports: ours by dotted name, others by top-level name."""
    modules = sources()
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets: set[str] = set()
        for name in imported_names(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"):
            top = name.partition(".")[0]
            if top not in PACKAGES:
                targets.add(top)
                continue
            # Importing a.b.c runs a and a.b first.
            parts = name.split(".")
            targets.update({".".join(parts[:end]) for end in range(1, len(parts) + 1)} & modules.keys())
            targets.add(top)
        graph[module] = targets - {module}
    return graph


def reachable(graph: dict[str, set[str]], module: str) -> set[str]:
    """Return all that importing `module` can bring in, directly or through our other modules."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for target in graph.get(waiting.pop(), set()) - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def packages_of(names: set[str]) -> set[str]:
    """Return the top-level names among dotted ones."""
    return {name.partition(".")[0] for name in names}


GRAPH = import_graph()


def test_every_package_has_modules() -> None:
    assert packages_of(set(GRAPH)) == set(PACKAGES)


def test_serving_loads_nothing_of_training() -> None:
    """A fresh interpreter imports the application and finds no training library in sys.modules."""
    code = "import json, sys, service.app; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = packages_of(set(json.loads(run.stdout)))
    assert {"service", "model", "fastapi", "onnxruntime"} <= loaded
    forbidden = {"torch", "onnx", "training", "scipy", "sklearn", "safetensors", "tqdm", "h5py"}
    forbidden |= {"sqlalchemy", "alembic", "psycopg"}  # needed when there is a task
    assert loaded & forbidden == set()


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_direction_of_imports(module: str) -> None:
    reached = packages_of(reachable(GRAPH, module))
    match module.partition(".")[0]:
        case "model":
            allowed = {"torch": TORCH_SIDE, "onnx": ONNX_SIDE, "h5py": HDF5_SIDE}
            assert reached & {"training", "service"} == set()
            assert {name for name in reached & allowed.keys() if module not in allowed[name]} == set()
        case "training":
            assert "service" not in reached
        case _:
            assert reached & {"training", "torch", "onnx"} == set()
            assert reachable(GRAPH, module) & HDF5_SIDE == set()


def test_serving_imports_only_what_the_base_install_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in project["dependencies"]}
    allowed = declared | BROUGHT_ALONG | set(sys.stdlib_module_names) | set(PACKAGES)
    allowed |= set().union(*EXTRAS.values())
    for module in sorted(GRAPH):
        if module.partition(".")[0] == "service" or module in {"model.runtime", "model.bundle"}:
            extra = packages_of(reachable(GRAPH, module)) - allowed
            assert extra == set(), f"{module} needs {sorted(extra)}, which pyproject.toml does not declare"


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_extras_are_loaded_only_when_they_are_asked_for(module: str) -> None:
    code = f"import json, sys, service.app, {module}; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout))
    of_extras = (
        "opentelemetry.sdk",
        "opentelemetry.instrumentation",
        "ray.",
        "pyarrow",
        "h5py",
        "tqdm",
        "argcomplete",
    )
    assert not any(name.startswith(of_extras) for name in loaded)
    users = {name: targets for name, targets in GRAPH.items() if name.startswith("service.")}
    importers = {name for name, targets in users.items() if targets & EXTRAS[module]}
    assert importers == {name for name, packages in EXTRAS.items() if packages & EXTRAS[module]}


def test_relative_imports_are_resolved() -> None:
    source = "from . import a\nfrom .b import c\nfrom ..d import e\nimport torch.nn\n"
    assert list(imported_names(source, "model.x.y", is_package=False)) == [
        "model.x", "model.x.a", "model.x.b", "model.x.b.c", "model.d", "model.d.e", "torch.nn",
    ]  # fmt: skip
    assert list(imported_names("from .b import c\nfrom .. import d", "model.x", is_package=True)) == [
        "model.x.b", "model.x.b.c", "model", "model.d",
    ]  # fmt: skip


def repository_files() -> list[Path]:
    """Return the files git keeps or would keep: tracked ones, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listing.split("\0") if name]
    assert paths, "git lists no file: is this a clone?"
    return [path for path in paths if path.is_file()]


# Each pattern is written so that it does not match its own text here.
MACHINE_PATHS = re.compile(
    r"(?<![\w.-])(?:\.{1,2}/)*shared[/]"  # the folder beside a developer's clone
    r"|/wor[k]/|/roo[t]/|/hom[e]/\w|/User[s]/\w|[A-Z]:\\User[s]|/tm[p]/\w"  # somebody's own folders
    r"|/op[t]/(?:wheels|pypi)|file:[/]{3}"  # somebody's package index
)


@pytest.mark.parametrize(
    "line", ["see ../" + "shared" + "/x", "`shared" + "/data`", "cd /wor" + "k/main", "file:" + "///srv"]
)
def test_machine_paths_are_recognised(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["/usr/share/doc", "the weights are shared", "a/network/path", "/rooted/x"])
def test_other_paths_are_not(line: str) -> None:
    assert not MACHINE_PATHS.search(line)


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in repository_files():
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # weights, tokenizers
        if "\0" in text:
            continue
        for number, line in enumerate(text.split("\n"), start=1):
            if match := MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_no_file_is_a_drawer_for_everything() -> None:
    """A module is named for its one idea."""
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in repository_files() if path.suffix == ".py" and path.stem in drawers] == []


def test_pins_are_exact_and_local_to_no_machine() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", pin)] == []
    assert "torch==2.13.0" in pins

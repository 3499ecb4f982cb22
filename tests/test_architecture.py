"""The rooms of the house: imports point one way, every package says what it is for, library code does not print."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    ("errors", "collectives", "files", "imports", "installed", "memory"),
    ("contract", "batching", "optim", "losses", "distributions", "nets", "rl"),
    ("algorithms",),
    ("data", "engine", "evaluation"),
    ("runs",),
    ("proof",),
    ("experiment", "launch", "testing", "doctor"),
    ("sweeps", "report", "export", "page"),
    ("console", "__main__", "__init__"),
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FILES = sorted((ROOT / "jaxgen").rglob("*.py"))


def room(path):
    return path.relative_to(ROOT / "jaxgen").parts[0].removesuffix(".py")


def imported(path):
    """The rooms that a module imports from, whenever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jaxgen":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("jaxgen."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    here = room(path)
    for there in imported(path):
        assert there in FLOOR, f"{there} has no floor yet"
        assert FLOOR[there] <= FLOOR[here], f"{here} imports {there}, which is above it"


@pytest.mark.parametrize("path", sorted((ROOT / "jaxgen").rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_every_package_opens_with_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def prints(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    return [node.lineno for node in calls if node.func.id == "print"]


@pytest.mark.parametrize(
    "name",
    [
        "algorithms",
        "data",
        "engine",
        "evaluation",
        "export",
        "losses",
        "nets",
        "proof",
        "page",
        "report",
        "rl",
        "runs",
        "sweeps",
    ],
)
def test_library_code_does_not_print(name):
    found = {path.name: prints(path) for path in (ROOT / "jaxgen" / name).rglob("*.py")}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "name", ["algorithms", "engine", "runs", "proof", "sweeps", "report", "evaluation", "export", "page"]
)
def test_nothing_asks_an_algorithm_or_a_config_what_it_has(name):
    """`contract.supports` and `TRAITS` are the places that know."""
    suspects = {"algorithm", "config", "settings", "module", "cfg"}
    for path in (ROOT / "jaxgen" / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            asks = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)
            assert not (asks and ast.unparse(node.args[0]).split(".")[-1] in suspects), f"{path}:{node.lineno}"


def test_flax_is_touched_in_nets_alone():
    for path in FILES:
        if room(path) != "nets":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
            names += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
            assert not [name for name in names if name.split(".")[0] == "flax"], path


def test_importing_jaxgen_loads_neither_jax_nor_numpy():
    code = "import sys, jaxgen; dir(jaxgen); print([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.stem)
def test_a_script_imports_jaxgen_before_anything_that_may_import_jax(path):
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    light = {*sys.stdlib_module_names, "tyro"}
    assert next(name for name in names if name.split(".")[0] not in light) == "jaxgen.launch.early"


def test_every_public_name_can_be_had():
    import jaxgen

    for name in jaxgen.__all__:
        assert getattr(jaxgen, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jaxgen.nothing


@pytest.mark.parametrize("folder", ["jaxgen", "experiments", "examples", "tests"])
def test_docstrings_open_with_the_thing_itself(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert '"' * 3 + "What " not in path.read_text(encoding="utf-8"), path

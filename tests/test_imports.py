"""Imports in src/ go downwards and never in a circle, those for types and those inside functions among them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
# Low to high. A file may import its own layer and those below. What is named in none of them is a script at the top.
LAYERS = ("utils", "modules", "components", "envs", "controllers", "datasets", "learners", "runners", "loops",
          "deployment", "sweeps", "reporting")  # fmt: skip
# Above the runners, beside the loops: what exists for stock EPyMARL's sake, which nothing else may import.
STOCK = "stock"
# Networks know nothing of the rest.
FOR_MODULES = {"utils.errors", "utils.keys"}
# These two know less than their height allows.
NARROW = {"components": {"components", "modules.policies", "modules.layers", "utils"},
          "learners": {"learners", "controllers", "components", "modules", "utils"}}  # fmt: skip

Graph = dict[str, set[str]]


def module_files(source: Path) -> dict[str, Path]:
    """The files below `source` by what they are imported as."""
    names = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def named(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """What an import statement names: for each name the modules it may come from, likeliest first."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.name,)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module is not None, "imports are absolute from src/"
        for alias in node.names:
            yield f"{node.module}.{alias.name}", node.module


def import_graph(source: Path) -> Graph:
    """Which files each file imports."""
    files = module_files(source)
    graph: Graph = {}
    for name, path in files.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found = (
            next((choice for choice in choices if choice in files), None) for node in nodes for choices in named(node)
        )
        graph[name] = {module for module in found if module is not None}
    return graph


def height(module: str) -> int:
    """The layer's number; scripts lie above all layers, stock's room beside the loops."""
    package = module.split(".")[0]
    if package == STOCK:
        return LAYERS.index("loops")
    return LAYERS.index(package) if package in LAYERS else len(LAYERS)


def is_wrong(importer: str, imported: str) -> bool:
    """Whether a file may not import the other one."""
    above, below = importer.split(".")[0], imported.split(".")[0]
    if above == below:
        return False
    if above == "modules":
        return imported not in FOR_MODULES
    if above in NARROW:
        return not any(imported == name or imported.startswith(f"{name}.") for name in NARROW[above])
    if below in ("main", "run"):
        return (above, below) != ("main", "run")
    return below == STOCK or height(imported) > height(importer) or (above, below) == (STOCK, "loops")


def upward(graph: Graph) -> set[tuple[str, str]]:
    """Imports that are wrong, (importer, imported)."""
    return {(name, module) for name, found in graph.items() for module in found if is_wrong(name, module)}


def circular(graph: Graph) -> set[str]:
    """Files that import themselves, directly or through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting.extend(graph[module])
        return seen

    return {name for name in graph if name in reached(name)}


def test_no_file_imports_upwards() -> None:
    assert not upward(import_graph(SOURCE))


def test_no_files_import_each_other() -> None:
    assert not circular(import_graph(SOURCE))


def test_every_folder_is_a_layer() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/*.py")}
    assert packages == {*LAYERS, STOCK}


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("modules/a.py", "from utils.config import x", {("modules.a", "utils.config")}),
        ("modules/a.py", "from utils.errors import x\nimport torch", set()),
        ("utils/config.py", "def f():\n    import run", {("utils.config", "run")}),
        ("utils/config.py", "if TYPE_CHECKING:\n    from modules import a", {("utils.config", "modules.a")}),
        ("stock/b.py", "import loops\nimport modules.a", {("stock.b", "loops")}),
        ("loops/__init__.py", "from stock import b", {("loops", "stock.b")}),
        ("run.py", "import loops, stock.b", {("run", "stock.b")}),
    ],
)
def test_the_checks_see_what_they_should(name: str, text: str, wrong: set[tuple[str, str]], tmp_path: Path) -> None:
    empty = ("modules/a.py", "utils/config.py", "utils/errors.py", "loops/__init__.py", "stock/b.py", "run.py")
    for path, content in (dict.fromkeys(empty, "") | {name: text}).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    assert upward(import_graph(tmp_path)) == wrong


def test_circles_are_seen_however_long() -> None:
    graph: Graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert circular(graph) == {"a", "b", "c"}

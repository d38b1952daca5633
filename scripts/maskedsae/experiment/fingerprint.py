"""What a step's numbers depend on in this package: its module and everything that it imports from here.

Hashes are of the parsed code, without comments, docstrings, layout and messages (log lines, the words of InputErrors):
a fresh checkout, a touched file or a better message retrains nothing, and a changed line of arithmetic shows up in a
dry run by its module's name.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# These cannot change a number: they print, check, find or write what others compute.
NO_NUMBERS = {"saes.cells"} | {
    f"scores.saebench.{name}" for name in ("checks", "children", "sizes", "words", "workplace")
}
ROOM_WITHOUT_NUMBERS = "jobs."


def exempt(module: str) -> bool:
    return module in NO_NUMBERS or module.startswith(ROOM_WITHOUT_NUMBERS)


def fingerprint(*modules: str) -> dict[str, str]:
    """{module: hash} for `modules` ("saes.training", "world.text") and those that they import, directly or not."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and not exempt(name):
            found[name], imported = _parse(name)
            waiting += imported
    return dict(sorted(found.items()))


@cache
def _parse(module: str) -> tuple[str, list[str]]:
    tree = ast.parse(_file(module).read_text())
    imported = [name for node in ast.walk(tree) for name in _imported(module, node)]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:12], imported


def _plain(node: object) -> object:
    """A syntax tree as nested lists, the same in every Python: `ast.unparse` and `ast.dump` differ between versions."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    if _is_message(node):
        return "words"
    fields = dict(ast.iter_fields(node))
    if isinstance(fields.get("body"), list):
        fields["body"] = [line for line in fields["body"] if not _is_text(line)]
    return [type(node).__name__, *((name, _plain(value)) for name, value in fields.items() if value not in (None, []))]


def _is_message(node: ast.AST) -> bool:
    """A log line or an InputError: neither computes anything."""
    called = getattr(node, "func", None)
    in_log = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
    return in_log or (isinstance(called, ast.Name) and called.id == "InputError")


def _is_text(line: ast.AST) -> bool:
    """A docstring, or a string that stands alone as a comment."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _imported(module: str, node: ast.AST) -> list[str]:
    """Modules of this package that an import statement of `module` names."""
    if isinstance(node, ast.Import):
        names = [alias.name.removeprefix("maskedsae.") for alias in node.names if alias.name.startswith("maskedsae.")]
        return [name for name in names if _file(name).is_file()]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        parent = ("maskedsae." + module).split(".")[: -node.level]
    elif node.module and node.module.split(".")[0] == "maskedsae":
        parent = []
    else:
        return []
    base = ".".join([*parent, *([node.module] if node.module else [])]).removeprefix("maskedsae").removeprefix(".")
    names = [base] if base else []
    names += [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
    return [name for name in names if _file(name).is_file()]


def _file(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"

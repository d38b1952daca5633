"""What a step's numbers depend on in this package: its module and all that it imports from here.

Hashes are of the parsed code, without comments, docstrings and layout: a fresh checkout, a touched file, a reformatting
or a better comment retrains nothing, and a changed line of arithmetic shows up in a dry run by its module's name.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent

# These cannot change a number: they say, guard or write what others have computed.
NO_NUMBERS = {"errors", "files", "job", "leases", "progress", "provenance"}


def fingerprint(module: str) -> dict[str, str]:
    """{module: hash} for `module` ("training", "world.text") and those that it imports, directly or not."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in NO_NUMBERS:
            found[name], imported = _parse(name)
            waiting += imported
    return dict(sorted(found.items()))


@cache
def _parse(module: str) -> tuple[str, list[str]]:
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    imported = [name for node in ast.walk(tree) for name in _imported(module, node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:12], imported


def _imported(module: str, node: ast.AST) -> list[str]:
    """Modules of this package that an import statement of `module` names."""
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
    return [name for name in names if (PACKAGE / f"{name.replace('.', '/')}.py").is_file()]

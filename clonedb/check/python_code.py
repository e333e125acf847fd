"""What the package's own Python says of the queries: who calls them, and what their rows become.

Read from the syntax tree, without running anything. A call is `queries.<module>.<name>`, or
`self._queries.<name>` in a class whose subclasses say `_queries = queries.<module>`.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Mention:
    """A place that names a query. `struct` is the row's class where one is handed over with it."""

    module: str
    query: str
    file: Path
    line: int
    function: str
    struct: str | None

    def load_struct(self) -> object:
        """What `struct` is in the module that has the place."""
        parts = self.file.relative_to(_PACKAGE.parent).with_suffix("").parts
        return getattr(importlib.import_module(".".join(parts)), self.struct or "", None)

    @property
    def path(self) -> str:
        return str(self.file.relative_to(_PACKAGE.parent))


@dataclass(slots=True)
class _Class:
    name: str
    bases: tuple[str, ...]
    query_module: str | None = None
    entry: str | None = None
    file: Path = _PACKAGE
    generic: list[Mention] = field(default_factory=list)


class PackageCode:
    """The package, read once."""

    def __init__(self, package: Path = _PACKAGE) -> None:
        self.mentions: list[Mention] = []
        self._classes: dict[str, _Class] = {}
        # Which functions, by name, are named in which.
        self.named_in: dict[str, set[str]] = {}
        for file in sorted(package.rglob("*.py")):
            relative = file.relative_to(package).parts
            if relative[0] not in ("check", "generation", "review"):
                self._read(file)
        self._resolve_generic()

    def callers(self, module: str, query: str) -> list[Mention]:
        return [each for each in self.mentions if (each.module, each.query) == (module, query)]

    def _read(self, file: Path) -> None:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
        self._walk(tree, file, "", None)

    def _walk(self, node: ast.AST, file: Path, function: str, owner: _Class | None) -> None:
        for child in ast.iter_child_nodes(node):
            inner, within = function, owner
            if isinstance(child, ast.ClassDef):
                within = self._class(child, file)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
                inner = child.name
            elif isinstance(child, ast.Attribute | ast.Name) and function:
                name = child.attr if isinstance(child, ast.Attribute) else child.id
                self.named_in.setdefault(name, set()).add(function)
            self._mention(child, node, file, function, owner)
            self._walk(child, file, inner, within)

    def _class(self, node: ast.ClassDef, file: Path) -> _Class:
        found = _Class(node.name, tuple(_name(base) for base in node.bases), file=file)
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                target, value = statement.targets[0].id, statement.value
                if target == "_queries" and isinstance(value, ast.Attribute):
                    found.query_module = value.attr
                elif target == "_entry" and isinstance(value, ast.Name):
                    found.entry = value.id
        self._classes[node.name] = found
        return found

    def _mention(
        self, node: ast.AST, parent: ast.AST, file: Path, function: str, owner: _Class | None
    ) -> None:
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Attribute):
            return
        module = node.value
        struct = _struct_behind(node, parent)
        if isinstance(module.value, ast.Name) and module.value.id == "queries":
            self.mentions.append(
                Mention(module.attr, node.attr, file, node.lineno, function, struct)
            )
        elif module.attr in ("_queries", "queries") and owner is not None:
            owner.generic.append(Mention("", node.attr, file, node.lineno, function, struct))

    def _resolve_generic(self) -> None:
        assigned = [each for each in self._classes.values() if each.query_module]
        for found in self._classes.values():
            for mention in found.generic:
                heirs = [each for each in assigned if self._inherits(each, found.name)]
                for heir in heirs or assigned:
                    struct = heir.entry if mention.struct == "self._entry" else None
                    self.mentions.append(
                        Mention(
                            heir.query_module or "",
                            mention.query,
                            heir.file if struct else mention.file,
                            mention.line,
                            mention.function,
                            struct,
                        )
                    )

    def _inherits(self, heir: _Class, name: str) -> bool:
        return heir.name == name or any(
            base == name or (base in self._classes and self._inherits(self._classes[base], name))
            for base in heir.bases
        )

    def reached_from(self, functions: set[str]) -> set[str]:
        """The functions, and by name all that lead to them."""
        reached, waiting = set(functions), list(functions)
        while waiting:
            for caller in self.named_in.get(waiting.pop(), ()):
                if caller not in reached:
                    reached.add(caller)
                    waiting.append(caller)
        return reached


def called_in_tests(folder: Path) -> set[str]:
    """The names that tests use as attributes or call: methods, functions, queries."""
    found: set[str] = set()
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= _words(node.value)
    return found


def _words(text: str) -> set[str]:
    # getattr(scope, "voice_models"), a command line, a parametrised name
    return {text} if text.isidentifier() else set()


def _struct_behind(node: ast.AST, parent: ast.AST) -> str | None:
    """The argument right behind the query, if a call hands one over."""
    if not isinstance(parent, ast.Call):
        return None
    behind = [after for before, after in pairwise(parent.args) if before is node]
    if not behind:
        return None
    (following,) = behind
    if isinstance(following, ast.Name):
        return following.id
    if isinstance(following, ast.Attribute) and following.attr == "_entry":
        return "self._entry"
    return None


def _name(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""

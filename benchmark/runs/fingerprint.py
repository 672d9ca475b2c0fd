"""Fingerprints of code: whether a run was made by the method, and the shared path, that are there today.

Of a method: the definitions that its class reaches by name, in its own file, its parents' and ``methods/_*.py``. Of the
shared path: the training room with what it uses of planning, the suite, and all of ``methods/_*.py``. Comments,
docstrings, formatting and the type hints of functions do not count, nor does where a definition stands. Read from the
files as text, since an imported module does not say what it was made of; the form that is hashed is our own, since
Python's dumps of a syntax tree differ from version to version.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READ = ("methods", "envs", "benchmark/training", "benchmark/planning")
"""Folders whose code can decide numbers."""
IGNORED = {"ctx", "kind", "type_comment", "type_ignores", "returns"}
DIGITS = 16

Dotted = tuple[str, ...]
"""A name with its attributes as they are written: ('jnp', 'tanh')."""


def form(value: Any) -> str:
    """A syntax tree as text that depends on what it does, and not on the version of Python."""
    if isinstance(value, ast.Constant):
        return ascii(value.value)
    if isinstance(value, ast.AST):
        return f"{type(value).__name__}({','.join(f'{name}={form(part)}' for name, part in _parts(value))})"
    if isinstance(value, list):
        return f"[{','.join('-' if each is None else form(each) for each in value)}]"
    return ascii(value)


def _parts(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a node that count."""
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and all(isinstance(each, ast.stmt) for each in value):
            value = [each for each in value if not _does_nothing(each)]
        if isinstance(node, ast.JoinedStr):
            value = _merged(value)
        if isinstance(value, ast.JoinedStr) and not _merged(value.values):
            value = None
        hint = isinstance(node, ast.arg) and name == "annotation"
        if name not in IGNORED and not hint and value is not None and value != []:
            yield name, value


def _does_nothing(statement: ast.stmt) -> bool:
    """A docstring, wherever it stands."""
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, whose plain text versions of Python cut differently."""
    found: list[ast.expr] = []
    for each in values:
        last = found[-1] if found else None
        if isinstance(each, ast.Constant) and isinstance(last, ast.Constant):
            found[-1] = ast.Constant(str(last.value) + str(each.value))
        elif not (isinstance(each, ast.Constant) and each.value == ""):
            found.append(each)
    return found


def uses(node: ast.AST) -> Iterator[Dotted]:
    """Every name in a tree, with the attributes behind it."""
    path: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        path.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield (inner.id, *reversed(path))
        return
    for _, value in _parts(inner):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from uses(each)


@dataclass
class Module:
    """What the top level of a file binds: names to the statements that make them, and to what they are imported from
    (a module, and the name in it, or none), wherever in the file. ``loose``: statements that do something else when the
    file is imported."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    loose: list[ast.stmt] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    """Every module that is imported, or may be: a name of a package may be one."""
    is_package: bool = False
    nested: bool = True
    """Whether there is an import below the top level."""

    def take_in(self, statements: Iterable[ast.stmt]) -> None:
        for each in statements:
            if isinstance(each, ast.Import | ast.ImportFrom):
                self._import(each)
            elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.definitions.setdefault(each.name, []).append(each)
                self._inner_imports(each)
            elif isinstance(each, ast.If) and ast.unparse(each.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                self.take_in(each.orelse)
            elif not _does_nothing(each):
                self._other(each)

    def _other(self, statement: ast.stmt) -> None:
        names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        inner = [n for n in ast.walk(statement) if isinstance(n, ast.stmt) and n is not statement]
        names |= {n.name for n in inner if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        for name in names:
            self.definitions.setdefault(name, []).append(statement)
        places = [n for n in ast.walk(statement) if isinstance(n, ast.Subscript | ast.Attribute)]
        if not names or any(isinstance(n.ctx, ast.Store) for n in places):
            self.loose.append(statement)
        self._inner_imports(statement)

    def _inner_imports(self, statement: ast.stmt) -> None:
        if self.nested:
            for each in ast.walk(statement):
                if isinstance(each, ast.Import | ast.ImportFrom):
                    self._import(each)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                self.modules.add(alias.name)
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports.setdefault(alias.asname or whole, []).append((whole, ""))
            return
        parents = self.name.split(".")
        above = parents[: len(parents) - statement.level + self.is_package] if statement.level else []
        module = ".".join([*above, *([statement.module] if statement.module else [])])
        self.modules |= {module, *(f"{module}.{alias.name}" for alias in statement.names)}
        for alias in statement.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.imports.setdefault(alias.asname or alias.name, []).append((module, alias.name))


Place = tuple[str, str]
"""A module and a name in it; the empty name is what runs when it is imported."""


class Sources:
    """The code that decides numbers, as its files were at one moment."""

    def __init__(self, texts: dict[str, bytes], packages: Iterable[str] = ()) -> None:
        """``texts``: the text of each module by its name in full."""
        self.texts, self.packages = texts, set(packages)
        self._modules: dict[str, Module] = {}
        self._forms: dict[Place, tuple[str, frozenset[Place]]] = {}
        self._texts: dict[Place, str] = {}
        self._shared: dict[str, str] = {}

    @classmethod
    def read(cls, root: Path = ROOT) -> Sources:
        texts, packages = {}, set()
        for path in (path for folder in READ for path in sorted((root / folder).rglob("*.py"))):
            place = path.relative_to(root)
            name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            if not path.name.startswith("."):  # what an editor leaves beside a file
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # deleted this moment, or no module
                    texts[name] = path.read_bytes()
            packages |= {name} if place.stem == "__init__" else set()
        return cls(texts, packages)

    def method(self, name: str) -> str:
        """The fingerprint of a method; empty if there is none of this name."""
        if f"methods.{name}" not in self.texts:
            return ""
        module = self._module(f"methods.{name}")
        roots = [(module.name, each) for each, made in module.definitions.items() if isinstance(made[-1], ast.ClassDef)]
        return self._hash(self.reached(roots))

    def shared(self, suite: str) -> str:
        """The fingerprint of what all methods share on a suite."""
        if suite not in self._shared:
            whole = [name for name in self.texts if name.startswith(("methods._", "benchmark.training."))]
            roots = [place for name in (*whole, f"envs.{suite}") for place in self.all_of(name)]
            self._shared[suite] = self._hash(self.reached(roots))
        return self._shared[suite]

    def files_of(self, name: str) -> set[str]:
        """The modules that a method's fingerprint is read from."""
        if f"methods.{name}" not in self.texts:
            return set()
        return {place[0] for place in self.reached(self.all_of(f"methods.{name}"))}

    def reached(self, roots: Iterable[Place]) -> set[Place]:
        """Every definition that these lead to by name, themselves included."""
        found, new = set[Place](), set(roots)
        while new:
            found |= new
            new = {place for each in new for place in self._form(each)[1]} - found
        return found

    def all_of(self, module: str) -> list[Place]:
        return [(module, name) for name in (*self._module(module).definitions, "")]

    def _hash(self, places: Iterable[Place]) -> str:
        forms = sorted(self._form(place)[0] for place in places)
        return hashlib.sha256("\n".join(forms).encode()).hexdigest()[:DIGITS]

    def _module(self, name: str) -> Module:
        if name not in self._modules:
            nested = re.search(rb"^[ \t]+(from|import)\b", self.texts[name], re.MULTILINE) is not None
            module = Module(name, is_package=name in self.packages, nested=nested)
            try:
                module.take_in(ast.parse(self.texts[name]).body)
            except (SyntaxError, ValueError):  # nothing can be imported from it: any change of it counts
                text = self.texts[name].decode(errors="replace")
                module.loose.append(ast.Expr(ast.Tuple([ast.Constant(text)], ast.Load())))
            self._modules[name] = module
        return self._modules[name]

    def _form(self, place: Place) -> tuple[str, frozenset[Place]]:
        """A definition as text, with what its names were imported as, and the places that these lead to."""
        if place not in self._forms:
            module = self._module(place[0])
            statements = module.definitions[place[1]] if place[1] else module.loose
            names = {path for each in statements for path in uses(each)}
            leads = {path: sorted(set(self._resolve(module, path))) for path in sorted(names)}
            foreign = {head: module.imports[head] for head, *_ in names if head in module.imports}
            said = [f"{head}={found}" for head, found in sorted(foreign.items()) if found[0][0] not in self.texts]
            said += [f"{path}={self._text(each)}" for path, found in leads.items() for each in found]
            found = {each for targets in leads.values() for each in targets}
            self._forms[place] = (
                "".join(map(form, statements)) + hashlib.sha256(";".join(said).encode()).hexdigest(),
                frozenset(found | self._when_imported(module)),
            )
        return self._forms[place]

    def _text(self, place: Place) -> str:
        """A definition alone, to tell two of one name from each other."""
        if place not in self._texts:
            module = self._module(place[0])
            statements = module.definitions[place[1]] if place[1] else module.loose
            self._texts[place] = hashlib.sha256("".join(map(form, statements)).encode()).hexdigest()
        return self._texts[place]

    def _when_imported(self, module: Module) -> set[Place]:
        """What runs when a module is imported: in it, and in those of these files that it imports."""
        there = [module, *(self._module(name) for name in sorted(module.modules & self.texts.keys()))]
        return {(each.name, "") for each in there if each.loose}

    def _resolve(self, module: Module, path: Dotted) -> Iterator[Place]:
        """Where a name leads, as it is written in a module; nowhere if that is none of these files."""
        head, *rest = path
        if head in module.definitions:
            yield module.name, head
        for origin, name in module.imports.get(head, []):
            yield from self._from(origin, (*([name] if name else []), *rest))
        if head not in module.definitions and head not in module.imports:
            for origin in module.stars:
                yield from self._from(origin, path)

    def _from(self, origin: str, path: Dotted) -> Iterator[Place]:
        if path and f"{origin}.{path[0]}" in self.texts:  # a module of a package
            yield from self._from(f"{origin}.{path[0]}", path[1:])
        elif origin in self.texts:
            found = list(self._resolve(self._module(origin), path)) if path else []
            yield from found or self._whole(origin, path)

    def _whole(self, origin: str, path: Dotted) -> list[Place]:
        """A module as a value, or a name that cannot be seen in it: whatever is in it may be used."""
        known = path and path[0] in self._module(origin).imports  # of a package that is not ours
        return [] if known else self.all_of(origin)

"""Finds the small faults that can be put into a module, and compiles the module with one of them.

Must not write to any file: a mutant lives in memory alone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Mutant", "functions_of", "mutants_of"]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_BUILTINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_ANNOTATIONS = {"annotation", "returns"}
_OPTIMIZED = 0x1  # a function's code, and no class body's; https://docs.python.org/3/library/inspect.html

Path_ = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Mutant:
    """One fault in one module.

    Attributes:
        where: the qualified name of the function, or class, it is in; empty at the top.
        line: where it begins in the file.
        last_line: where it ends.
        text: of the whole file, as it was when the fault was found.
        in_function: it shows when the function is called, and not already at import.
    """

    module: str
    number: int
    where: str
    line: int
    last_line: int
    in_function: bool
    before: str
    after: str
    file: Path = field(repr=False)
    text: str = field(repr=False, compare=False)
    _at: Path_ = field(repr=False, compare=False)
    _replacement: ast.AST = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Say what it is, whatever line it has moved to."""
        return f"{self.module} {self.where or '(top)'}: {self.before} → {self.after}"

    def code(self) -> CodeType:
        tree: Any = ast.parse(self.text)
        *way, (attribute, index) = self._at
        node = tree
        for name, position in way:
            node = getattr(node, name) if position is None else getattr(node, name)[position]
        if index is None:
            setattr(node, attribute, self._replacement)
        else:
            getattr(node, attribute)[index] = self._replacement
        return compile(ast.fix_missing_locations(tree), str(self.file), "exec", dont_inherit=True)


def mutants_of(module: str, file: Path, only: str = "") -> list[Mutant]:
    """Return the faults of a module, in the order of its text.

    Args:
        only: a class; the rest of the module is left alone, and so are the columns of its table, which
            the migrations hold.
    """
    found = _Finder()
    text = file.read_text()
    found.walk(ast.parse(text), (), "", in_function=False, is_message=False, statement=None)
    inside = [site for site in found.sites if not only or (site.where.startswith(f"{only}.") and site.in_function)]
    return [
        Mutant(
            module=module,
            number=number,
            where=site.where,
            line=site.line,
            last_line=site.last_line,
            in_function=site.in_function,
            before=_short(site.before),
            after=_short(site.after),
            file=file,
            text=text,
            _at=site.at,
            _replacement=site.after,
        )
        for number, site in enumerate(inside)
    ]


def functions_of(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Return the code of a module's functions and methods, by qualified name and first line; none within another."""
    functions: dict[tuple[str, int], CodeType] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & _OPTIMIZED:
                functions[constant.co_qualname, constant.co_firstlineno] = constant
            else:
                functions |= functions_of(constant)
    return functions


@dataclass
class _Site:
    at: Path_
    where: str
    line: int
    last_line: int
    in_function: bool
    before: ast.AST
    after: ast.AST


class _Finder:
    def __init__(self) -> None:
        self.sites: list[_Site] = []

    def walk(
        self, node: ast.AST, at: Path_, where: str, *, in_function: bool, is_message: bool, statement: ast.stmt | None
    ) -> None:
        if isinstance(node, ast.Assert) or _is_no_behaviour(node):
            return
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None:
            for after in _replacements(node, is_message):
                line = min(statement.lineno, getattr(node, "lineno", statement.lineno))
                last = getattr(node, "end_lineno", None) or line
                if isinstance(node, (ast.stmt, ast.expr, ast.keyword)):
                    ast.copy_location(after, node)
                self.sites.append(_Site(at, where, line, last, in_function, node, after))
        is_message = is_message or isinstance(node, (ast.Raise, ast.JoinedStr)) or _is_logging(node)
        inner = where
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not in_function:
            inner = f"{where}.{node.name}" if where else node.name
        for name, value in ast.iter_fields(node):
            if name in _ANNOTATIONS:
                continue
            is_body = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name == "body"
            if isinstance(node, ast.keyword) and isinstance(value, ast.Constant):
                continue  # is replaced with its name, which tells one option from another
            many = isinstance(value, list)
            for index, child in enumerate(value if many else [value]):
                if isinstance(child, ast.AST):
                    self.walk(
                        child,
                        (*at, (name, index if many else None)),
                        inner,
                        in_function=in_function or is_body,
                        is_message=is_message,
                        statement=statement,
                    )


def _replacements(node: ast.AST, is_message: bool) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                other = copy.deepcopy(node)
                other.ops[index] = _COMPARISONS[type(operator)]()
                yield other
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(operator)](), node.right)
        case ast.AugAssign(op=operator):
            yield ast.Assign([node.target], node.value)
        case ast.If(body=body, orelse=orelse):
            yield ast.If(ast.Constant(True), body, orelse)
            yield ast.If(ast.Constant(False), body, orelse)
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.While():
            yield ast.Pass()
        case ast.comprehension(ifs=ifs) if ifs:
            for index in range(len(ifs)):
                yield ast.comprehension(node.target, node.iter, ifs[:index] + ifs[index + 1 :], node.is_async)
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Await()) if not _is_logging(node.value):
            yield ast.Pass()
        case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS:
            yield ast.Call(ast.Name(_BUILTINS[name], ast.Load()), node.args, node.keywords)
        case ast.keyword(arg=name, value=ast.Constant(value=value)) if value is not None and not is_message:
            for other in _other_constants(value):
                yield ast.keyword(name, other)
        case ast.Constant(value=value) if value is not None and not is_message:
            yield from _other_constants(value)


def _other_constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant("" if value else "mutant")
    elif isinstance(value, bytes):
        yield ast.Constant(b"" if value else b"mutant")


def _is_no_behaviour(node: ast.AST) -> bool:
    """Tell docstrings, the list of public names, names of types and slots: nothing that could be done wrong."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.keyword(arg="slots"):
            return True
        case ast.Call(func=ast.Name(id="cast" | "getLogger")):
            return True
    return False


def _is_logging(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("logger.", "logging."))


def _short(node: ast.AST) -> str:
    if isinstance(node, ast.comprehension):
        return " if ".join([f"for {ast.unparse(node.target)} in …", *map(ast.unparse, node.ifs)])
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else f"{text[:99]}…"

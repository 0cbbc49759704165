"""Reads the one row that a question is about, and in the same statement what was taken back.

Every link and every file that is served asks for both, and the ORM takes longer to write such a statement than the
database to answer it: it is written once for each model. Must not decide, nor keep what a database said.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connections, models, router

from gateway import epochs
from gateway.models import Epoch, File, FileState
from gateway.principals import Principal
from gateway.resources import Resource, could_be, rows_of

__all__ = ["row_and_epochs", "row_of"]

# Primary keys that are compared in one way, whatever the value.
_EXAMPLES: dict[type, Any] = {models.AutoField: 1, models.BigAutoField: 1, models.UUIDField: uuid.UUID(int=1)}


def row_of(resource: Resource) -> models.Model | None:
    """Return the row that a resource of a model means, as :func:`gateway.resources.rows_of` finds it."""
    statement = _statement_for(resource)
    if statement is None:
        return rows_of([resource]).first()
    lines = statement.fetch(statement.sql, resource.pk)
    return statement.row(lines[0]) if lines else None


def row_and_epochs(resource: Resource, principal: Principal, tenant: str) -> tuple[models.Model | None, epochs.Now]:
    """Return the row that a resource of a model means, and what had been taken back when it was read.

    What is not there costs the database the same.
    """
    statement = _statement_for(resource)
    if statement is None or statement.using != router.db_for_write(Epoch):
        read = epochs.now(principal, tenant)
        return row_of(resource), read
    digests = epochs.digests_of(principal, tenant)
    table = connections[statement.using].ops.quote_name(Epoch._meta.db_table)
    # One line for each number, with the row beside it; where there is no row, its columns are null.
    sql = (
        f"SELECT {table}.digest, {table}.number, {statement.selected}"  # noqa: S608 - our own names
        f" FROM {table} LEFT JOIN {statement.table} ON {statement.condition}"
        f" WHERE {table}.digest IN ({', '.join(['%s'] * len(digests))})"
    )
    lines = statement.fetch(sql, resource.pk, digests.values())
    if not lines:  # not even the counter, which every migration and flush of Django's leaves there
        return row_of(resource), epochs.Now()
    numbers = {digest: number for digest, number, *_ in lines}
    read = epochs.Now(**{name: numbers.get(digest, 0) for name, digest in digests.items()})
    return statement.row(lines[0][2:]), read


@dataclass(frozen=True, slots=True)
class _Statement:
    """How the ORM reads a row of a model by its primary key.

    Attributes:
        selected, table, condition: its parts; the condition has a place for the key.
        columns: what it selects, as the ORM has it, where the database has another form for any; else none.
        names: of the attributes that are selected.
    """

    model: type[models.Model]
    using: str
    selected: str
    table: str
    condition: str
    columns: Sequence[Any]
    names: Sequence[str]

    @property
    def sql(self) -> str:
        return f"SELECT {self.selected} FROM {self.table} WHERE {self.condition}"  # noqa: S608 - the ORM's own

    def fetch(self, sql: str, pk: Any, more: Iterable[str] = ()) -> list[tuple[Any, ...]]:
        connection: Any = connections[self.using]
        key: Any = self.model._meta.pk
        with connection.cursor() as cursor:
            cursor.execute(sql, [key.get_db_prep_value(pk, connection), *more])
            return list(cursor.fetchall())

    def row(self, values: Sequence[Any]) -> models.Model | None:
        """Make of values what the ORM makes of them; of a file that is not ready there is no row."""
        key: Any = self.model._meta.pk
        if values[self.names.index(key.attname)] is None:
            return None
        if self.columns:
            compiler: Any = models.sql.Query(self.model).get_compiler(self.using)
            (values,) = compiler.apply_converters([list(values)], compiler.get_converters(self.columns))
        row = self.model.from_db(self.using, self.names, values)
        return None if isinstance(row, File) and row.state != FileState.READY else row


def _statement_for(resource: Resource) -> _Statement | None:
    """Return the statement that finds a resource's row; None where the ORM has to write it."""
    assert resource.model is not None
    if resource.pk is None or not could_be(resource.model, resource.pk):
        return None
    using = router.db_for_write(resource.model)
    return _statement(resource.model, using, connections[using].vendor)


@lru_cache(maxsize=1024)
def _statement(model: type[models.Model], using: str, _vendor: str) -> _Statement | None:
    """Have the ORM write the statement of a model; None where it may be another one the next time.

    Args:
        _vendor: of the database; another one has other forms of values.
    """
    key: Any = model._meta.pk
    example = _EXAMPLES.get(type(key))
    if example is None or type(model._base_manager) is not models.Manager:
        return None
    compiler: Any = model._base_manager.using(using).filter(pk=example).query.get_compiler(using)
    sql, parameters = compiler.as_sql()
    columns = [column for column, *_ in compiler.select]
    quote = connections[using].ops.quote_name
    table = quote(model._meta.db_table)
    statement = _Statement(
        model, using,
        selected=", ".join(selected for _, (selected, _), _ in compiler.select),
        table=table,
        condition=f"{table}.{quote(key.column)} = %s",
        columns=columns if compiler.get_converters(columns) else [],
        names=[column.target.attname for column in columns],
    )  # fmt: skip
    # A model that widens another one is joined with it; a field that is selected by an expression may bring parameters.
    return statement if (statement.sql, len(parameters)) == (sql, 1) else None

"""A migration as a whole: what is left to do, done by several at once, each object recorded as soon as it is there.

The record is all that a run goes on from. Must not ask the database from a thread that moves bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from django.db import models, router
from django.utils import timezone

from gateway.models import ObjectCopy
from gateway.moving.copying import Copied, Progress, copy, delete
from gateway.moving.rows import content_types, left_alone
from gateway.moving.sides import Side

__all__ = ["Plan", "copy_all", "delete_all", "plan_of", "route_of"]


@dataclass(slots=True)
class Plan:
    """What a run finds.

    Attributes:
        done: recorded as copied, by name, and still in the source as they were.
        gone: recorded as copied, and not listed in the source any more.
        to_copy: name and size in bytes.
        left: name and why it is not copied.
    """

    done: dict[str, Copied] = field(default_factory=dict)
    gone: dict[str, Copied] = field(default_factory=dict)
    to_copy: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def route_of(source: Side, target: Side) -> str:
    """Return what stands for the two places in the record."""
    return hashlib.sha256(f"{source.place}\0{target.place}".encode()).hexdigest()


def plan_of(source: Side, target: Side, prefix: str = "") -> Plan:
    """List the source and compare it with the record.

    Every name and size is held in memory.
    """
    plan = Plan()
    listed, etags = {}, {}
    for name, size_bytes, etag in source.listed(prefix):
        listed[name], etags[name] = size_bytes, etag
    recorded = _records().filter(route=route_of(source, target), name__startswith=prefix)
    for row in recorded.iterator():
        copied = Copied(
            row.name, "copied", "", row.size_bytes, row.sha256, row.source_etag, row.target_etag, row.target_version
        )
        if etags.get(row.name) == row.source_etag:
            plan.done[row.name] = copied
        elif row.name not in listed and row.source_deleted_at is None:
            plan.gone[row.name] = copied
    rest = {name: size_bytes for name, size_bytes in listed.items() if name not in plan.done}
    plan.left = left_alone(source, rest)
    plan.to_copy = {name: size_bytes for name, size_bytes in rest.items() if name not in plan.left}
    return plan


def copy_all(
    source: Side, target: Side, plan: Plan, *, workers: int, prefix: str = "", progress: Progress = lambda _: None
) -> Iterator[Copied]:
    """Copy what is left, and yield each object once it is recorded."""
    types = content_types(source, prefix)
    route = route_of(source, target)

    def one(name: str) -> Copied:
        return copy(source, target, name, content_type=types.get(name, ""), progress=progress)

    for copied in _at_once(one, plan.to_copy, workers):
        if copied.is_done:
            _record(route, copied)
            plan.done[copied.name] = copied
        yield copied


def delete_all(source: Side, target: Side, plan: Plan, *, workers: int) -> Iterator[Copied]:
    """Delete the source's objects that are recorded as copied and still agree with the record; yield each."""
    route = route_of(source, target)
    copies = plan.done | plan.gone
    for deleted in _at_once(lambda name: delete(source, target, copies[name]), copies, workers):
        if deleted.is_done:
            row = _records().filter(digest=ObjectCopy.digest_of(route, deleted.name))
            row.update(source_deleted_at=timezone.now())
        yield deleted


def _record(route: str, copied: Copied) -> None:
    _records().update_or_create(
        digest=ObjectCopy.digest_of(route, copied.name),
        defaults={
            "route": route, "name": copied.name, "size_bytes": copied.size_bytes, "sha256": copied.sha256,
            "source_etag": copied.source_etag, "target_etag": copied.target_etag,
            "target_version": copied.target_version, "copied_at": timezone.now(), "source_deleted_at": None,
        },
    )  # fmt: skip


def _records() -> models.QuerySet[ObjectCopy]:
    return ObjectCopy.objects.using(router.db_for_write(ObjectCopy))


def _at_once(work: Callable[[str], Copied], names: Iterable[str], workers: int) -> Iterator[Copied]:
    """Do work in threads, and yield what is done in the order in which it is; never many more than are at work."""
    rest = iter(list(names))
    with ThreadPoolExecutor(workers) as pool:
        pending: set[Future[Copied]] = set()
        try:
            while True:
                pending |= {pool.submit(work, name) for name in islice(rest, 2 * workers - len(pending))}
                if not pending:
                    return
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()

"""``/healthz`` and ``/readyz``: is the process alive, and could it decide, sign and record right now.

Must not show anything but which part is not ready: the body is for whoever asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from django.contrib.auth.decorators import login_not_required
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from gateway import links
from gateway.api.problems import PROBLEM_TYPE, answer, guarded
from gateway.api.service import private_storages
from gateway.conf import conf
from gateway.errors import Unavailable, problem
from gateway.models import File, Issuance
from providers.local import LocalProvider

__all__ = ["healthz", "readyz"]

logger = logging.getLogger(__name__)


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer, which is all that being alive means: neither a database nor a storage is touched."""
    return answer({"status": "ok"})


@guarded
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Check the database, its migrations, and that every private storage signs; 503 names what does not."""
    failed = [name for name, check in _checks() if not _holds(name, check)]
    if not failed:
        return answer({"status": "ready"})
    body = problem(Unavailable(), f"not ready: {', '.join(failed)}")
    return answer(body, Unavailable.status, PROBLEM_TYPE, {"Retry-After": str(Unavailable.retry_after_seconds)})


def _checks() -> Iterator[tuple[str, Callable[[], bool]]]:
    # Where permission data is read, and where audit rows are committed.
    for using in sorted({router.db_for_write(File), conf().audit_database or router.db_for_write(Issuance)}):
        yield f"database {using}", partial(_answers, using)
        yield f"migrations of {using}", partial(_is_migrated, using)
    for alias, storage in private_storages().items():
        yield f"storage {alias}", partial(_signs, alias, storage)


def _holds(name: str, check: Callable[[], bool]) -> bool:
    try:
        holds = check()
    except Exception as error:
        # Messages of drivers and SDKs may hold addresses and user names.
        logger.error("not ready: %s: %s", name, type(error).__name__)
        return False
    if not holds:
        logger.error("not ready: %s", name)
    return holds


def _answers(using: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone()[0] == 1)


def _is_migrated(using: str) -> bool:
    executor = MigrationExecutor(connections[using])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _signs(alias: str, storage: object) -> bool:
    """Sign a probe, which the door holds to its post-condition; where we also verify, believe it ourselves."""
    now = datetime.now(UTC)
    signed = links.probe(alias, now=now)
    provider = getattr(storage, "provider", None)
    if isinstance(provider, LocalProvider):
        query = signed.url.partition("?")[2]
        provider.verify(method=signed.method, key=links.PROBE_KEY, query=query, now=now)
    return True

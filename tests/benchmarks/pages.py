"""A page of links with its audit rows, beside the page that people write by hand on the same kind of store.

Both pass the whole WSGI handler, on PostgreSQL that commits to the disk. Run as a module it is the process that
measures; ``measured()`` starts that process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.measuring import alternate
from tests.benchmarks.production import measured_by

LINKS = 100


def measured(
    database_url: str, entry: dict[str, Any], peer: str, more: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the seconds of ``page`` (ours), and of the peer's ``plain`` and ``recorded`` ones.

    Args:
        entry: of ``STORAGES``.
        peer: whose views stand below ``plain/<peer>/``.
        more: variables of the environment that those read.
    """
    result: dict[str, float] = measured_by(
        "tests.benchmarks.pages", peer, database_url=database_url, entry=entry, more=more
    )
    return result


def measure(peer: str) -> dict[str, float]:
    import uuid

    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.middleware.csrf import _get_new_csrf_string
    from django.test import Client as Browser

    from gateway.models import Issuance
    from tests.benchmarks.serving_links import Site
    from tests.hostapp.models import Document

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user(f"owner-{uuid.uuid4().hex}")
    browser = Browser()
    browser.force_login(user)
    token = _get_new_csrf_string()
    cookies = f"{settings.SESSION_COOKIE_NAME}={browser.session.session_key}; {settings.CSRF_COOKIE_NAME}={token}"
    ours, plain = (Site(middleware, cookies, token) for middleware in (settings.MIDDLEWARE, settings.PLAIN_MIDDLEWARE))
    for number in range(LINKS):
        key = f"uploads/2026/11/{number:026x}/file.pdf"
        # As a fixture: there is no store that could take the bytes.
        Document(owner=user, file=key).save_base(raw=True, force_insert=True)
    before = Issuance.objects.count()
    page, plain_page, recorded_page = alternate(
        lambda: ours.post("/prefetched/page", b"", 201),
        lambda: plain.post(f"/plain/{peer}/page", b"", 201),
        lambda: plain.post(f"/plain/{peer}/recorded_page", b"", 201),
        rounds=15,
    )
    assert Issuance.objects.count() - before == 2 * 16 * LINKS  # ours and the recorded peer, every round
    return {"page": page, "plain": plain_page, "recorded": recorded_page}


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(measure(sys.argv[1])))

"""A process that makes the database of the servers: two users, their tokens, and files of the first.

Run as ``python -m tests.gateway.delivery.populate``; prints what the test needs as JSON.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta

TYPES = {"pdf": "application/pdf", "png": "image/png", "tml": "text/html"}


def main() -> None:
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from gateway.models import ApiToken, File

    call_command("migrate", verbosity=0)
    users = [get_user_model().objects.create_user(name, password=f"{name}'s password") for name in ("alice", "bob")]
    file = File.objects.create(
        owner=users[0],
        storage_alias="private",
        key="uploads/permalink.pdf",
        filename="Überblick.pdf",
        content_type="application/pdf",
        size_bytes=9,
    )
    tokens = [
        ApiToken.mint(user=user, name="t", scopes=["Download"], expires_at=timezone.now() + timedelta(hours=1))[1]
        for user in users
    ]
    sessions = []
    for user in users:
        client = Client()
        client.force_login(user)
        sessions.append(client.session.session_key)
    # {alias: {name: key}}, for tests of servers in front.
    wanted = json.loads(os.environ.get("DELIVERY_TEST_FILES", "{}"))
    files = {
        alias: {
            name: str(
                File.objects.create(
                    owner=users[0],
                    storage_alias=alias,
                    key=key,
                    filename=key.rpartition("/")[2],
                    content_type=TYPES.get(key[-3:], "text/plain"),
                    size_bytes=0,
                ).pk
            )
            for name, key in keys.items()
        }
        for alias, keys in wanted.items()
    }
    facts = {"file": str(file.pk), "key": file.key, "tokens": tokens, "sessions": sessions, "files": files}
    print(json.dumps(facts))  # noqa: T201


if __name__ == "__main__":
    main()

"""Taking back from the command line: each scope by the names that people know, and a truthful account."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway import links
from gateway.models import Epoch, Issuance
from gateway.principals import Principal
from gateway.resources import Resource
from tests.gateway.api.support import token_of
from tests.gateway.conftest import new_document, new_file
from tests.gateway.test_revocation import S3

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("gateway_revoke", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_each_scope_by_its_name(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.test_revocation.TENANT"}
    file, document = new_file(alice), new_document(alice)
    run("file", str(file.pk))
    run("file", f"hostapp.document:{document.pk}:file")
    run("object", "private:uploads/2026/")
    run("user", "alice", "--reason", "lost laptop")
    run("tenant", "acme")
    run("storage", "private")
    run("everything")
    assert list(Epoch.objects.exclude(scope="counter").order_by("number").values_list("scope", "target")) == [
        ("object", f"private:{file.key}"),
        ("object", f"private:{document.file.name}"),
        ("object", "private:uploads/2026/"),
        ("principal", f"user:{alice.pk}"),
        ("tenant", "acme"),
        ("storage", "private"),
        ("everything", ""),
    ]
    rows = Issuance.objects.filter(decision="revoked").order_by("at")
    assert [row.principal for row in rows] == ["system"] * 7
    assert rows[3].reason == "lost laptop"


def test_it_says_what_ended_and_what_lives_on(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"cloud": S3}
    who = Principal(kind="user", user=alice)
    links.issue(who, Resource.of_file(new_file(alice)))
    cloud = links.issue(who, Resource.of_file(new_file(alice, storage_alias="cloud")))
    token_of(alice)
    assert run("user", "alice") == [
        f"Taken back: user:{alice.pk} (epoch 1).",
        "Ended now: 1 local links, 0 open uploads.",
        "Refused from now on: 1 API tokens, and every session begun before.",
        f"Lives on: 1 links of cloud, the last until {cloud.expires_at:%Y-%m-%dT%H:%M:%SZ}. The store serves them;"
        " only new credentials of the signer would end them sooner.",
    ]


REFUSED: dict[str, tuple[list[str], str]] = {
    "no-such-user": (["user", "nobody"], "there is no user 'nobody'"),
    "user-that-is-no-text": (["user", "\udcff"], "is no text"),
    "tenant-that-is-no-text": (["tenant", "\udcff"], "is no text"),
    "reason-that-is-no-text": (["everything", "--reason=\udcff"], "is no text"),
    "no-reference": (["file", "x"], "'x' is no reference"),
    "no-such-file": (["file", "11111111-1111-4111-8111-111111111111"], "name its object as alias:key"),
    "no-such-model": (["file", "a.b:1:c"], "names no private field"),
    "no-such-storage": (["storage", "nowhere"], "STORAGES has no alias 'nowhere'"),
    "no-key": (["object", "private"], "alias:key"),
    "reference-in-place-of-an-object": (["object", "hostapp.document:1:file"], "no alias 'hostapp.document'"),
    "object-of-no-storage": (["object", "nowhere:a"], "STORAGES has no alias 'nowhere'"),
    "tenant-where-there-are-none": (["tenant", "acme"], "TENANT'] is not set"),
    "nothing": ([], "required"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_there_is_not_taken_back(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert Epoch.current_number() == 0

"""Grants from the command line and in the admin: made, listed, ended, and what ends with them."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client

from gateway import links
from gateway.models import ApiToken, Epoch, Grant, Issuance
from gateway.principals import Principal
from gateway.resources import Resource
from tests.gateway.api.support import token_of
from tests.gateway.conftest import new_file

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("gateway_grant", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_made_listed_and_ended(alice: Any, bob: Any, client: Client, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": "gateway.grants.GrantPolicy"}}
    key = storages["private"].save("a.pdf", ContentFile(b"x"))
    file = new_file(alice, key=key)
    (pk,) = run("add", "--user", "bob", "--file", str(file.pk), "--until", "2099-01-02T03:04:05Z", "--max-ttl", "60")
    assert run("list", "--user", "bob") == [f"{pk}  bob  Download of private: {key} until 2099-01-02T03:04:05Z"]
    assert run("list", "--user", "alice") == []
    url = links.issue(Principal(kind="user", user=bob), Resource.of_file(file)).url
    assert client.get(url).status_code == 200
    assert run("end", pk) == [f"Grant {pk} has ended, and with it 1 local links."]
    assert client.get(url).status_code == 403
    assert run("list") == []


def test_to_a_group_or_a_token_to_all_below_a_prefix(alice: Any) -> None:
    Group.objects.create(name="press")
    token_of(alice)
    token = ApiToken.objects.get()
    run("add", "--group", "press", "--object", "private:uploads/2026/", "--operations", "Download,Update",
        "--disposition", "attachment", "--reason", "the report")  # fmt: skip
    run("add", "--token", str(token.pk), "--object", "private:a/b.pdf")
    one, other = Grant.objects.order_by("created_at")
    assert (one.group.name, one.key, one.operations, one.dispositions, one.reason) == (  # type: ignore[union-attr]
        "press", "uploads/2026/", ["Download", "Update"], ["attachment"], "the report"
    )  # fmt: skip
    assert (other.token, other.key, other.operations) == (token, "a/b.pdf", ["Download"])


TO = ["--user", "bob"]
AT = ["--object", "private:a"]
REFUSED: dict[str, tuple[list[str], str]] = {
    "no-such-user": (["add", "--user", "nobody", *AT], "there is no user 'nobody'"),
    "no-such-group": (["add", "--group", "x", *AT], "there is no group x"),
    "user-that-is-no-text": (["add", "--user", "\udcff", *AT], "is no text"),
    "group-that-is-no-text": (["add", "--group", "\udcff", *AT], "is no text"),
    "reason-that-is-no-text": (["add", *TO, *AT, "--reason", "\udcff"], "is no text"),
    "key-that-is-no-text": (["add", *TO, "--object", "private:\udcff"], "is no text"),
    "no-such-token": (["add", "--token", str(uuid.UUID(int=1)), *AT], "there is no api token"),
    "to-two": (["add", *TO, "--group", "x", *AT], "not allowed with"),
    "to-none": (["add", *AT], "required"),
    "no-object": (["add", *TO], "required"),
    "no-such-storage": (["add", *TO, "--object", "nowhere:a"], "STORAGES has no alias 'nowhere'"),
    "no-key": (["add", *TO, "--object", "private:"], "key"),
    "no-such-operation": (["add", *TO, *AT, "--operations", "Read"], "some of"),
    "before-the-first-year": (["add", *TO, *AT, "--until", "0001-01-01T00:00:00+14:00"], "no instant with a time zone"),
    "after-the-last-year": (["add", *TO, *AT, "--until", "9999-12-31T23:59:59-12:00"], "no instant with a time zone"),
    "empty-object": (["add", *TO, "--object", ""], "STORAGES has no alias ''"),
    "no-time-zone": (["add", *TO, *AT, "--until", "2099-01-01T00:00:00"], "no instant with a time zone"),
    "over": (["add", *TO, *AT, "--until", "2026-01-01T00:00:00Z"], "until is 2026-01-01T00:00:00Z, which is over"),
    "no-such-grant": (["end", str(uuid.UUID(int=1))], "there is no grant"),
    "no-id": (["end", "1"], "id is no UUID"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_granted_or_ended(bob: Any, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert not Grant.objects.exists()


@pytest.mark.parametrize("how", ["one", "selected"])
def test_the_admin_ends_a_grant_with_its_links(alice: Any, client: Client, how: str) -> None:
    root = User.objects.create_superuser("root")
    grant = Grant.objects.create(user=alice, storage_alias="private", key="a/", operations=["Download"])
    client.force_login(root)
    if how == "one":
        client.post(f"/admin/presign_gateway/grant/{grant.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(grant.pk)], "post": "yes"}
        client.post("/admin/presign_gateway/grant/", chosen)
    assert not Grant.objects.exists()
    assert Epoch.objects.exclude(scope="counter").values_list("scope", "target").get() == ("object", "private:a/")
    row = Issuance.objects.get(decision="revoked")
    assert (row.principal, row.credential, row.reason) == (f"user:{root.pk}", "session", f"grant {grant.pk}")


def test_the_admin_makes_no_grant_that_a_policy_could_not_hold(alice: Any, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    fields = {"user": str(alice.pk), "storage_alias": "private", "key": "a/../b", "operations": '["Download"]'}
    assert client.post("/admin/presign_gateway/grant/add/", fields).status_code == 200
    assert not Grant.objects.exists()
    assert client.post("/admin/presign_gateway/grant/add/", fields | {"key": "a/b"}).status_code == 302
    grant = Grant.objects.get()
    assert (grant.user, grant.operations, grant.dispositions) == (alice, ["Download"], None)
    assert client.get(f"/admin/presign_gateway/grant/{grant.pk}/change/").status_code == 200
    assert client.post(f"/admin/presign_gateway/grant/{grant.pk}/change/", fields).status_code == 403

"""``gateway_token``: a token that works until it is revoked, and whose text is seen once."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway.models import ApiToken
from tests.gateway.api.support import ApiClient

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    """Return what the command wrote to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    call_command("gateway_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def create(*more: str) -> str:
    return run("create", "alice", "--name", "backup", *more)[0].strip()


def status(text: str) -> int:
    return ApiClient(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/service").status_code


class TestCreate:
    def test_the_token_is_all_that_is_printed(self, alice: Any) -> None:
        text = create()
        assert re.fullmatch(r"pgw_[A-Za-z0-9_\-]{43}", text)
        assert status(text) == 200

    def test_it_is_for_its_user_and_says_what_it_is_for(self, alice: Any) -> None:
        create("--scopes", "Upload,Download", "--days", "7")
        token = ApiToken.objects.get()
        assert (token.user, token.name, token.scopes) == (alice, "backup", ["Download", "Upload"])
        assert timedelta(days=6) < token.expires_at - timezone.now() <= timedelta(days=7)

    def test_without_a_word_it_downloads_for_ninety_days(self, alice: Any) -> None:
        create()
        token = ApiToken.objects.get()
        assert token.scopes == ["Download"]
        assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)

    def test_its_text_is_kept_nowhere(self, alice: Any) -> None:
        out, err = run("create", "alice", "--name", "backup")
        assert out.strip() not in str(list(ApiToken.objects.values()))
        assert out.strip() not in err

    REFUSED: dict[str, list[str]] = {
        "no user": ["create", "--name", "a"],
        "unknown user": ["create", "nobody", "--name", "a"],
        "user that is no text": ["create", "\udcff", "--name", "a"],
        "name that is no text": ["create", "alice", "--name", "\udcff"],
        "no name": ["create", "alice"],
        "empty name": ["create", "alice", "--name", ""],
        "long name": ["create", "alice", "--name", "a" * 101],
        "name of two lines": ["create", "alice", "--name", "a\nb"],
        "unknown scope": ["create", "alice", "--name", "a", "--scopes", "Download,Everything"],
        "scope in small letters": ["create", "alice", "--name", "a", "--scopes", "download"],
        "empty scopes": ["create", "alice", "--name", "a", "--scopes", ""],
        "scope with a space": ["create", "alice", "--name", "a", "--scopes", "Download, Upload"],
        "part upload": ["create", "alice", "--name", "a", "--scopes", "UploadPart"],
        "no days": ["create", "alice", "--name", "a", "--days", "0"],
        "days before now": ["create", "alice", "--name", "a", "--days", "-1"],
        "too many days": ["create", "alice", "--name", "a", "--days", "3661"],
        "half a day": ["create", "alice", "--name", "a", "--days", "0.5"],
        "days as text": ["create", "alice", "--name", "a", "--days", "x"],
        "days in other digits": ["create", "alice", "--name", "a", "--days", "٣"],
        "unknown action": ["renew", "alice"],
        "no action": [],
    }

    @pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
    def test_refusals(self, alice: Any, arguments: list[str]) -> None:
        with pytest.raises(CommandError):
            run(*arguments)
        assert ApiToken.objects.count() == 0

    def test_a_user_who_is_not_active_gets_none(self, alice: Any) -> None:
        type(alice).objects.update(is_active=False)
        with pytest.raises(CommandError, match="not active"):
            create()


class TestList:
    def test_tokens_are_told_apart_without_their_texts(self, alice: Any) -> None:
        text = create("--scopes", "Download,Delete")
        status(text)
        out, _ = run("list")
        token = ApiToken.objects.get()
        for shown in (str(token.pk), "alice", "backup", "Delete,Download", f"until {token.expires_at:%Y-%m-%d}"):
            assert shown in out
        assert text not in out
        assert token.digest not in out
        assert f"used {timezone.now():%Y-%m-%d}" in out

    def test_one_that_has_expired_says_so(self, alice: Any) -> None:
        create()
        ApiToken.objects.update(expires_at=timezone.now())
        assert "expired" in run("list")[0]

    def test_of_one_user(self, alice: Any, bob: Any) -> None:
        create()
        run("create", "bob", "--name", "other")
        assert "other" not in run("list", "alice")[0]
        assert len(run("list")[0].splitlines()) == 2

    def test_of_nobody(self, alice: Any) -> None:
        with pytest.raises(CommandError):
            run("list", "nobody")


class TestRevoke:
    def test_it_is_refused_from_then_on(self, alice: Any) -> None:
        text = create()
        run("revoke", str(ApiToken.objects.get().pk))
        assert status(text) == 401

    def test_no_other_is(self, alice: Any) -> None:
        text = create()
        other = create()
        run("revoke", str(ApiToken.objects.latest("created_at").pk))
        assert (status(text), status(other)) == (200, 401)

    @pytest.mark.parametrize(
        "name", [str(uuid.uuid4()), "x", "", "pgw_" + "a" * 43], ids=["unknown", "word", "empty", "text"]
    )
    def test_refusals(self, alice: Any, name: str) -> None:
        create()
        with pytest.raises(CommandError) as refused:
            run("revoke", name)
        assert "pgw_" not in str(refused.value)
        assert ApiToken.objects.count() == 1

"""Which answers are counted as served, and which have a row of their own before they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from gateway import audit, counting
from gateway.counting import Counter
from gateway.errors import AuditUnavailable
from gateway.models import Issuance
from gateway.principals import ANONYMOUS
from gateway.resources import Resource
from gateway.testing import counted_serving
from providers.types import Download
from tests.gateway.conftest import new_file
from tests.gateway.delivery.support import put_file

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.gateway.delivery.urls")]

KEY = "uploads/report.pdf"
S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {"bucket_name": "bucket", "region_name": "eu-central-1", "access_key": "a", "secret_key": "s"},
}

# Where, how, by which method: the status, and what the audit says: decision, delivery, whether a link is named.
SERVED = {
    "stream": ("here", "stream", "GET", 200, ("allowed", "stream", False)),
    "stream-head": ("here", "stream", "HEAD", 200, ("allowed", "stream", False)),
    "nginx": ("here", "x_accel", "GET", 200, ("allowed", "x_accel", False)),
    "apache": ("here", "x_sendfile", "GET", 200, ("allowed", "x_sendfile", False)),
    "lighttpd": ("here", "x_lighttpd", "GET", 200, ("allowed", "x_lighttpd", False)),
    "nginx-from-a-bucket": ("bucket", "x_accel", "GET", 200, ("allowed", "x_accel", False)),
    "redirect-head": ("bucket", "redirect", "HEAD", 200, ("allowed", "redirect", False)),
}
LEAVES = {
    "redirect": ("here", "redirect", "GET", 302, ("issued", "", True)),
    "secure-link": ("here", "secure_link", "GET", 302, ("allowed", "", False)),
    "secure-link-head": ("here", "secure_link", "HEAD", 302, ("allowed", "", False)),
}


def visit(settings: Any, user: Any, owner: Any, where: str, delivery: str, method: str) -> Any:
    here = settings.STORAGES["private"]
    entry = here if where == "here" else S3
    storages = settings.STORAGES | {"served": entry | {"OPTIONS": entry["OPTIONS"] | {"delivery": delivery}}}
    file = new_file(owner, storage_alias="served", key=KEY)
    client = Client()
    client.force_login(user)
    with override_settings(STORAGES=storages):
        put_file(KEY, b"content") if where == "here" else None
        response = getattr(client, method.lower())(f"/f/{file.pk}")
        if response.streaming:
            b"".join(response.streaming_content)  # closed as the test client does, with the connection left open
    return response


def said() -> list[tuple[str, str, bool]]:
    return [(row.decision, row.delivery, bool(row.link_hash)) for row in Issuance.objects.all()]


@pytest.mark.parametrize(("where", "delivery", "method", "status", "row"), SERVED.values(), ids=SERVED)
def test_what_is_served_is_counted_and_written_later(
    settings: Any, alice: Any, private_root: Path, where: str, delivery: str, method: str, status: int, row: Any
) -> None:
    with counted_serving():
        assert visit(settings, alice, alice, where, delivery, method).status_code == status
        assert said() == []
    assert said() == [row]


@pytest.mark.parametrize(("where", "delivery", "method", "status", "row"), LEAVES.values(), ids=LEAVES)
def test_what_leaves_has_its_row_before_it_does(
    settings: Any, alice: Any, private_root: Path, where: str, delivery: str, method: str, status: int, row: Any
) -> None:
    with counted_serving():
        assert visit(settings, alice, alice, where, delivery, method).status_code == status
        assert said() == [row]


@pytest.mark.parametrize(("where", "delivery", "method", "status", "row"), SERVED.values(), ids=SERVED)
def test_a_refusal_has_its_row_at_once(
    settings: Any, alice: Any, bob: Any, private_root: Path, where: str, delivery: str, method: str, status: int,
    row: Any,
) -> None:  # fmt: skip
    with counted_serving():
        assert visit(settings, bob, alice, where, delivery, method).status_code == 404
        assert said() == [("refused", "", False)]


@pytest.mark.parametrize(("where", "delivery", "method", "status", "row"), SERVED.values(), ids=SERVED)
def test_what_can_be_neither_counted_nor_written_is_not_served(
    settings: Any, alice: Any, private_root: Path, monkeypatch: pytest.MonkeyPatch,
    where: str, delivery: str, method: str, status: int, row: Any,
) -> None:  # fmt: skip
    def fail(rows: Any) -> None:
        if rows[0].key != KEY:
            raise AuditUnavailable("no")

    full = Counter(fail, max_kinds=1)
    another = Resource.of_key("private", "another")
    full.add(audit.columns_of("allowed", ANONYMOUS, another, Download, at=alice.date_joined))
    monkeypatch.setattr(counting, "count", full.add)
    answer = visit(settings, alice, alice, where, delivery, method)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "X-Accel-Redirect" not in answer.headers
    assert said() == []

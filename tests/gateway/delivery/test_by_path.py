"""Files known by their path alone: the storage's path policy decides, and without one everything is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from gateway.models import Issuance
from tests.gateway.delivery.front import FILES, NAMES, Site, ask, content_of
from tests.gateway.delivery.support import STACKS, follow, put_file
from tests.gateway.delivery.test_permalink import session_of, token_of, told

CONTENT = b"%PDF-1.7 and so on"
POLICY = {"PATH_POLICIES": {"private": "tests.gateway.delivery.path_policy.OwnDirectory"}}


@pytest.fixture(autouse=True)
def host(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.gateway.delivery.urls"
    settings.GATEWAY = settings.GATEWAY | POLICY


@pytest.mark.django_db
@pytest.mark.parametrize("stack", STACKS)
class TestDecision:
    def test_the_policy_of_paths_decides_and_the_answer_is_a_permalink_s(self, stack: str, alice: Any) -> None:
        put_file("alice/report.pdf", CONTENT)
        answer = follow(stack, "/by-path/alice/report.pdf", cookies=session_of(alice))
        assert answer.status == 302
        assert follow(stack, answer.headers["Location"]).body == CONTENT
        issued, served = Issuance.objects.order_by("at")
        assert (issued.decision, issued.key, issued.policy) == ("issued", "alice/report.pdf", "own directory")
        assert (served.decision, served.delivery, served.link_id) == ("allowed", "local", issued.link_id)

    def test_denied_missing_and_odd_names_are_one_answer(self, stack: str, alice: Any, bob: Any) -> None:
        put_file("alice/report.pdf", CONTENT)
        headers = {"Authorization": token_of(bob)}
        paths = [
            *("alice/report.pdf", "alice/missing.pdf", "bob/../alice/report.pdf", "bob//a", "bob/.", "bob/a%00b"),
            *("..%2falice/report.pdf", "bob%5c..%5calice", "bob/a?x=1", "bob/" + "x" * 300),
        ]
        answers = [told(follow(stack, f"/by-path/{path}", headers=headers)) for path in paths]
        assert {status for status, _, _ in answers} == {404}
        assert len({body for _, body, _ in answers}) == 1

    def test_nobody_is_asked_to_log_in_before_anything_is_looked_at(self, stack: str, db: None) -> None:
        assert follow(stack, "/by-path/alice/report.pdf").status == 401
        assert follow(stack, "/by-path/..%2fx", headers={"Accept": "text/html"}).status == 302

    def test_without_a_policy_everything_is_refused(self, stack: str, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {}}
        put_file("alice/report.pdf", CONTENT)
        alice.is_superuser = True
        alice.save()
        assert follow(stack, "/by-path/alice/report.pdf", cookies=session_of(alice)).status == 404

    def test_a_host_that_requires_a_log_in_everywhere_leaves_it_to_decide(
        self, stack: str, alice: Any, settings: Any
    ) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        answer = follow(stack, "/by-path/alice/a", headers={"Authorization": token_of(alice)})
        assert answer.status == 302


def test_every_name_that_is_a_key_is_served_by_its_path(site: Site) -> None:
    for name, key in NAMES.items():
        if name not in ("missing", "key-long", "key-deep"):
            path = f"/guarded-by-us/alice/{quote(key, safe='/~')}"
            own, other = ask(site.gunicorn, path, site.token()), ask(site.gunicorn, path, site.token(1))
            assert (own.status, own.body, other.status) == (200, content_of(f"alice/{key}"), 404), name


def test_dots_on_the_request_line_lead_nowhere(site: Site) -> None:
    for path in ("alice/../bob/", "alice/%2e%2e/bob/", "alice/..%2fbob/"):
        assert ask(site.gunicorn, f"/guarded-by-us/{path}{FILES['image']}", site.token()).status == 404

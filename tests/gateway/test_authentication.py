"""Who a request is from: tokens, sessions, both at once, and none."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, connection
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory
from django.utils import timezone

from gateway import authentication
from gateway.authentication import ApiTokenAuthenticator, SessionAuthenticator, authenticate
from gateway.errors import CSRFFailed, DatabaseUnavailable, NotAuthenticated
from gateway.models import ApiToken
from gateway.principals import Principal, close_lease, current, open_lease
from tests.gateway.api.support import CSRF, database_down_for, token_of

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def request_of(user: Any = None, *, token: str | None = None, method: str = "GET", **headers: str) -> HttpRequest:
    """Make a request of a session, a bearer token, both or neither, as the middleware would leave it."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = RequestFactory().generic(method, "/", headers=headers)
    request._dont_enforce_csrf_checks = False
    request.user = AnonymousUser() if user is None else user
    request.session = SessionStore()
    return request


class TestToken:
    def test_its_user_is_the_principal(self, alice: Any) -> None:
        text = token_of(alice, "Download")
        principal = authenticate(request_of(token=text))
        assert principal.id == f"user:{alice.pk}"
        assert principal.token == ApiToken.objects.get()
        assert principal.authority_ends_at == principal.token.expires_at

    def test_one_query_reads_token_and_user_and_one_the_epochs(
        self, alice: Any, django_assert_num_queries: Any
    ) -> None:
        request = request_of(token=token_of(alice))
        authenticate(request)
        with django_assert_num_queries(2):
            assert authenticate(request).user.username == "alice"

    def test_its_use_is_noted_once_a_minute(self, alice: Any) -> None:
        request = request_of(token=token_of(alice))
        authenticate(request)
        first = ApiToken.objects.get().last_used_at
        assert first is not None
        authenticate(request)
        assert ApiToken.objects.get().last_used_at == first
        ApiToken.objects.update(last_used_at=first - timedelta(minutes=1))
        authenticate(request)
        assert ApiToken.objects.get().last_used_at > first

    def test_to_the_instant_it_ends_and_its_use_is_noted_again(
        self, alice: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = request_of(token=token_of(alice))
        token = ApiToken.objects.get()
        instant = token.expires_at - timedelta(microseconds=1)
        monkeypatch.setattr(authentication, "timezone", SimpleNamespace(now=lambda: instant))
        ApiToken.objects.update(last_used_at=instant - timedelta(minutes=1))
        authenticate(request)
        assert ApiToken.objects.get().last_used_at == instant
        instant = token.expires_at
        with pytest.raises(NotAuthenticated):
            authenticate(request)

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_scheme_has_no_case(self, alice: Any, scheme: str) -> None:
        request = request_of(Authorization=f"{scheme} {token_of(alice)}")
        assert authenticate(request).user == alice

    def test_one_that_has_expired_is_refused(self, alice: Any) -> None:
        text = token_of(alice)
        ApiToken.objects.update(expires_at=timezone.now())
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(token=text))

    def test_one_whose_user_is_not_active_is_refused(self, alice: Any) -> None:
        text = token_of(alice)
        type(alice).objects.update(is_active=False)
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(token=text))

    def test_its_text_is_kept_nowhere(self, alice: Any) -> None:
        text = token_of(alice)
        authenticate(request_of(token=text))
        assert text not in str(list(ApiToken.objects.values()))


# What the header holds, with %s for a good token: none of it is an identity.
BAD_HEADERS = {
    "empty": "",
    "scheme alone": "Bearer",
    "no scheme": "%s",
    "two spaces": "Bearer  %s",
    "tab": "Bearer\t%s",
    "basic": "Basic YWxpY2U6cGFzc3dvcmQ=",
    "another scheme": "Token %s",
    "prefix alone": "Bearer pgw_",
    "cut": "Bearer %.46s",
    "longer": "Bearer %sA",
    "in quotes": 'Bearer "%s"',
    "with a comma": "Bearer %s,",
    "two in one": "Bearer %s, Bearer x",
    "another's prefix": "Bearer sk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "upper-case prefix": "Bearer PGW_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "unknown": "Bearer pgw_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "not ascii": "Bearer pgw_ééééééééééééééééééééééééééééééééééééééééééé",
    "other digits": "Bearer pgw_٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣",
    "a JSON web token": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "10 kB": "Bearer pgw_" + "a" * 10_000,
    "newline after": "Bearer %s\n",
    "nul after": "Bearer %s\x00",
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
@pytest.mark.parametrize("logged_in", [False, True], ids=["alone", "beside a session"])
def test_a_header_that_fails_is_refused_whatever_the_session_says(alice: Any, header: str, logged_in: bool) -> None:
    request = request_of(alice if logged_in else None)
    request.META["HTTP_AUTHORIZATION"] = header % token_of(alice) if "%" in header else header
    with pytest.raises(NotAuthenticated):
        authenticate(request)


@pytest.mark.parametrize("header", [BAD_HEADERS[name] for name in ("cut", "not ascii", "10 kB")])
def test_the_shape_is_checked_before_the_database_is_asked(
    header: str, alice: Any, django_assert_num_queries: Any
) -> None:
    request = request_of()
    request.META["HTTP_AUTHORIZATION"] = header % token_of(alice) if "%" in header else header
    with django_assert_num_queries(0), pytest.raises(NotAuthenticated):
        authenticate(request)


class TestSession:
    def test_its_user_is_the_principal(self, alice: Any) -> None:
        principal = authenticate(request_of(alice))
        assert (principal.kind, principal.user, principal.token) == ("user", alice, None)

    def test_of_one_that_began_under_no_number_nothing_is_read(
        self, alice: Any, django_assert_num_queries: Any
    ) -> None:
        request = request_of(alice)
        with django_assert_num_queries(0):
            assert authenticate(request).session_epoch is None

    def test_a_principal_does_not_outlive_its_session(self, alice: Any) -> None:
        request = request_of(alice)
        request.session["_auth_user_id"] = str(alice.pk)
        request.session.set_expiry(60)
        ends_at = authenticate(request).authority_ends_at
        assert ends_at is not None
        assert ends_at <= timezone.now() + timedelta(seconds=60)

    def test_nobody_is_refused(self) -> None:
        with pytest.raises(NotAuthenticated):
            authenticate(request_of())

    def test_a_user_that_is_not_active_is_refused(self, alice: Any) -> None:
        alice.is_active = False
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(alice))

    def test_who_is_not_authenticated_is_nobody_however_active(self) -> None:
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(SimpleNamespace(is_authenticated=False, is_active=True, pk=1)))

    def test_a_project_without_sessions_has_tokens_alone(self, alice: Any) -> None:
        request = RequestFactory().get("/")
        with pytest.raises(NotAuthenticated):
            authenticate(request)
        request.META["HTTP_AUTHORIZATION"] = f"Bearer {token_of(alice)}"
        assert authenticate(request).user == alice


class TestTwoIdentities:
    def test_a_session_of_somebody_inactive_is_none(self, alice: Any, bob: Any) -> None:
        bob.is_active = False
        assert authenticate(request_of(bob, token=token_of(alice))).user == alice

    def test_of_one_user_are_the_tokens(self, alice: Any) -> None:
        principal = authenticate(request_of(alice, token=token_of(alice)))
        assert principal.token is not None

    def test_that_differ_are_refused(self, alice: Any, bob: Any) -> None:
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(bob, token=token_of(alice)))

    def test_that_differ_are_refused_in_either_order(self, alice: Any, bob: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {
            "AUTHENTICATORS": [
                "gateway.authentication.SessionAuthenticator",
                "gateway.authentication.ApiTokenAuthenticator",
            ]
        }
        with pytest.raises(NotAuthenticated):
            authenticate(request_of(bob, token=token_of(alice)))


class TestCSRF:
    """Django's own check, when a session is what proves the identity."""

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_an_unsafe_method_needs_the_token(self, alice: Any, method: str) -> None:
        with pytest.raises(CSRFFailed):
            authenticate(request_of(alice, method=method))

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_a_safe_method_does_not(self, alice: Any, method: str) -> None:
        assert authenticate(request_of(alice, method=method)).user == alice

    def test_the_token_in_its_header_is_enough(self, alice: Any) -> None:
        request = request_of(alice, method="POST", **{"X-CSRFToken": CSRF})
        request.COOKIES["csrftoken"] = CSRF
        assert authenticate(request).user == alice

    REFUSED = {
        "no cookie": (None, CSRF, {}),
        "no header": (CSRF, None, {}),
        "another token": (CSRF, "d" * 32, {}),
        "not the form of a token": (CSRF, "é", {}),
        "origin of another site": (CSRF, CSRF, {"Origin": "https://evil.example"}),
        "no origin": (CSRF, CSRF, {"Origin": "null"}),
    }

    @pytest.mark.parametrize(("cookie", "header", "others"), REFUSED.values(), ids=REFUSED)
    def test_refusals(self, alice: Any, cookie: str | None, header: str | None, others: dict[str, str]) -> None:
        headers = others | ({} if header is None else {"X-CSRFToken": header})
        request = request_of(alice, method="POST", **headers)
        if cookie is not None:
            request.COOKIES["csrftoken"] = cookie
        with pytest.raises(CSRFFailed):
            authenticate(request)

    def test_a_token_of_the_session_is_taken_where_the_project_keeps_it_there(self, alice: Any, settings: Any) -> None:
        settings.CSRF_USE_SESSIONS = True
        request = request_of(alice, method="POST", **{"X-CSRFToken": CSRF})
        request.session["_csrftoken"] = CSRF
        assert authenticate(request).user == alice

    def test_an_api_token_needs_none(self, alice: Any) -> None:
        assert authenticate(request_of(token=token_of(alice), method="POST")).user == alice
        assert authenticate(request_of(alice, token=token_of(alice), method="POST")).user == alice

    @pytest.mark.parametrize("header", [None, CSRF], ids=["without", "with a header"])
    def test_the_body_is_not_read_for_it(self, alice: Any, header: str | None) -> None:
        headers = {} if header is None else {"X-CSRFToken": header}
        request = RequestFactory(headers=headers).post("/", {"csrfmiddlewaretoken": CSRF})
        request._dont_enforce_csrf_checks = False
        request.user, request.session = alice, SessionStore()
        request.COOKIES["csrftoken"] = CSRF
        try:
            authenticate(request)
        except CSRFFailed:
            assert header is None
        assert not request._read_started
        assert request.POST["csrfmiddlewaretoken"] == CSRF


class TestLease:
    def test_the_identity_is_the_one_that_asks(self, alice: Any) -> None:
        request = request_of(token=token_of(alice))
        lease, context = open_lease(request)
        try:
            principal = authenticate(request)
            assert current().token == principal.token
            assert current().request is request
        finally:
            close_lease(lease, context)

    def test_without_the_middleware_it_is_returned_alone(self, alice: Any) -> None:
        assert authenticate(request_of(token=token_of(alice))).user == alice


class Badge:
    """An authenticator of a project: a header of its own."""

    reads_authorization = False

    def authenticate(self, request: HttpRequest) -> Principal | None:
        user = getattr(request, "badge", None)
        return None if user is None else Principal(kind="user", user=user, request=request)


class AnyBearer(Badge):
    """One that reads the Authorization header."""

    reads_authorization = True


def use(settings: Any, *authenticators: str) -> None:
    settings.GATEWAY = settings.GATEWAY | {"AUTHENTICATORS": authenticators}


class TestPluggable:
    BADGE = "tests.gateway.test_authentication.Badge"

    def test_an_authenticator_of_the_project_is_asked(self, alice: Any, settings: Any) -> None:
        use(settings, self.BADGE)
        request = request_of()
        request.badge = alice
        assert authenticate(request).user == alice

    def test_an_unknown_header_is_refused_beside_it(self, alice: Any, settings: Any) -> None:
        use(settings, self.BADGE)
        request = request_of(token="something")
        request.badge = alice
        with pytest.raises(NotAuthenticated):
            authenticate(request)

    def test_one_that_reads_the_header_accepts_it(self, alice: Any, settings: Any) -> None:
        use(settings, "tests.gateway.test_authentication.AnyBearer")
        request = request_of(token="something")
        request.badge = alice
        assert authenticate(request).user == alice

    def test_its_inactive_user_is_refused(self, alice: Any, settings: Any) -> None:
        use(settings, self.BADGE)
        alice.is_active = False
        request = request_of()
        request.badge = alice
        with pytest.raises(NotAuthenticated):
            authenticate(request)

    def test_those_of_the_gateway_are_separate(self, alice: Any) -> None:
        assert SessionAuthenticator().authenticate(request_of(token=token_of(alice))) is None
        assert ApiTokenAuthenticator().authenticate(request_of(alice)) is None


class TestDatabaseDown:
    def test_reading_a_token(self, alice: Any) -> None:
        request = request_of(token=token_of(alice))
        with database_down_for("presign_gateway_apitoken") as met, pytest.raises(DatabaseUnavailable):
            authenticate(request)
        assert met

    def test_noting_its_use(self, alice: Any) -> None:
        request = request_of(token=token_of(alice))
        with database_down_for('UPDATE "presign_gateway_apitoken"') as met, pytest.raises(DatabaseUnavailable):
            authenticate(request)
        assert met

    def test_a_connection_that_is_closed(self, alice: Any) -> None:
        def fail(*_: Any) -> Any:
            raise InterfaceError("connection already closed")

        request = request_of(token=token_of(alice))
        with connection.execute_wrapper(fail), pytest.raises(DatabaseUnavailable):
            authenticate(request)


def test_an_asgi_request_is_the_same(alice: Any) -> None:
    request = AsyncRequestFactory().generic("POST", "/", headers={"X-CSRFToken": CSRF})
    assert isinstance(request, ASGIRequest)
    request._dont_enforce_csrf_checks = False
    request.user, request.session = alice, SessionStore()
    with pytest.raises(CSRFFailed):
        authenticate(request)
    request.COOKIES["csrftoken"] = CSRF
    assert authenticate(request).user == alice

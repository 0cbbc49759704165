"""JSON web tokens: whose are believed, which are refused and why, and what happens where keys cannot be had."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.authentication import authenticate
from gateway.checks import FIXES
from gateway.conf import conf
from gateway.contrib.jwt import JWTAuthenticator
from gateway.contrib.jwt.issuers import read_issuers
from gateway.contrib.jwt.keys import KeySource
from gateway.contrib.jwt.tokens import Refused, check_claims, read_token
from gateway.errors import DatabaseUnavailable, NotAuthenticated, Unavailable
from gateway.models import ApiToken, Epoch, ExternalIdentity, Issuance
from gateway.policies import OPERATIONS
from gateway.principals import SYSTEM, Principal, acting_as
from gateway.revocation import revoke
from tests.emulators.token_endpoints import DISCONNECTS, DRIPS, EMPTY, GARBAGE, HANGS, Trouble, slow, status
from tests.gateway.api.support import ApiClient, by_session, database_down_for, file_of, issued, token_of
from tests.gateway.contrib.tokens import (
    AUDIENCE,
    ISSUER,
    SECRET,
    KeyServer,
    claims_of,
    decoded,
    document,
    ec_key,
    ed_key,
    encoded,
    key_set,
    rsa_key,
    token,
    with_secret,
)
from tests.gateway.test_checks import messages

LINKS = "/api/v1/links"
OTHER_ISSUER = "https://other.example"


def believe(settings: Any, issuers: dict[str, Any]) -> None:
    settings.GATEWAY = settings.GATEWAY | {
        "AUTHENTICATORS": [
            "gateway.contrib.jwt.JWTAuthenticator",
            "gateway.authentication.ApiTokenAuthenticator",
            "gateway.authentication.SessionAuthenticator",
        ],
        "JWT_ISSUERS": issuers,
    }


def issuer(**options: Any) -> dict[str, Any]:
    """Return the options of an issuer with one RSA key; ... leaves an option out."""
    options = {"audience": AUDIENCE, "algorithms": ["RS256"], "key": rsa_key().public_pem} | options
    return {name: value for name, value in options.items() if value is not ...}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key set with the keys of an issuer, of every kind."""
    path = tmp_path / "keys.json"
    keys = (rsa_key(), rsa_key("second"), ec_key(), ec_key("P-384", "long"), ec_key("P-521", "longer"), ed_key())
    path.write_text(json.dumps(key_set(*keys)))
    return path


ALL_ASYMMETRIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.fixture
def believed(settings: Any, key_file: Path) -> None:
    """Two issuers, each with keys of its own."""
    believe(
        settings,
        {
            ISSUER: issuer(key=..., jwks_file=key_file, algorithms=["RS256", "ES256"]),
            OTHER_ISSUER: issuer(key=rsa_key("other").public_pem),
        },
    )


@pytest.fixture
def known(alice: Any) -> ExternalIdentity:
    """Alice, as her issuer calls her."""
    return ExternalIdentity.objects.create(issuer=ISSUER, subject="alice-at-id", user=alice)


def request_of(text: str, user: Any = None) -> HttpRequest:
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {text}"})
    request.user = AnonymousUser() if user is None else user
    return request


def identity_of(text: str) -> Principal:
    return authenticate(request_of(text))


class TestPrincipal:
    pytestmark = pytest.mark.usefixtures("believed", "known")

    def test_it_is_the_user_that_the_issuer_means(self, alice: Any) -> None:
        request = request_of(token())
        principal = authenticate(request)
        assert (principal.kind, principal.user, principal.id) == ("user", alice, f"user:{alice.pk}")
        assert principal.request is request

    def test_it_has_no_authority_after_the_end_of_its_token(self) -> None:
        end = int(time.time()) + 77
        assert identity_of(token(claims_of(exp=end))).authority_ends_at == datetime.fromtimestamp(end, UTC)

    def test_one_query_finds_it_and_one_the_epochs(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(2):
            assert identity_of(token()).user.username == "alice"

    def test_its_credential_is_named_and_fits_the_audit(self) -> None:
        names = [identity_of(token(claims_of(jti=jti))).credential for jti in ("a", "b", "a", ...)]
        assert names[0] == names[2]
        assert len({*names, identity_of(token()).credential}) == 4
        assert all(len(name) <= Issuance._meta.get_field("credential").max_length for name in names)

    def test_another_issuers_token_of_the_same_name_is_another_credential(self, alice: Any) -> None:
        ExternalIdentity.objects.create(issuer=OTHER_ISSUER, subject="alice-at-id", user=alice)
        theirs = identity_of(token(claims_of(iss=OTHER_ISSUER), key=rsa_key("other")))
        assert theirs.user == alice
        assert theirs.credential != identity_of(token()).credential

    def test_nothing_of_the_token_is_kept(self) -> None:
        text = token()
        principal = identity_of(text)
        assert not ApiToken.objects.exists()
        assert text.rpartition(".")[2] not in repr(principal)
        assert text not in str(vars(principal.token))

    def test_the_longest_token_is_read_and_the_last_instant_believed(self) -> None:
        with pytest.raises(Refused, match="it has 8193 bytes; at most 8192"):
            read_token("a" * 8193)
        with pytest.raises(Refused, match="not three parts"):
            read_token("a" * 8192)
        longest = {"exp": 253_370_764_800, "iat": 0, "iss": "i" * 255, "sub": "s" * 255, "aud": "a"}
        check_claims(longest)
        for name, value in {"exp": 253_370_764_801, "iat": -1, "iss": "i" * 256, "sub": "s" * 256, "aud": ""}.items():
            with pytest.raises(Refused, match=f"^{name} is missing"):
                check_claims(longest | {name: value})

    def test_what_is_signed_is_header_and_claims(self) -> None:
        text = token()
        assert read_token(text).signed == text[: text.rindex(".")]

    def test_a_token_that_was_read_does_not_show_itself_and_cannot_be_changed(self) -> None:
        read = read_token(token())
        assert repr(read) == "UnverifiedToken()"
        for name in ("text", "signed", "header", "claims"):
            with pytest.raises(FrozenInstanceError):
                setattr(read, name, None)

    def test_without_scopes_it_may_ask_for_every_operation(self) -> None:
        principal = identity_of(token(claims_of(scope="Download")))
        assert principal.token is not None
        assert set(principal.token.scopes) == {operation.__name__ for operation in OPERATIONS}


ACCEPTED: dict[str, Callable[[], str]] = {
    "plain": token,
    "no type": lambda: token(typ=...),
    "type in lower case": lambda: token(typ="jwt"),
    "an access token": lambda: token(typ="at+jwt"),
    "an access token in full": lambda: token(typ="application/at+JWT"),
    "our audience among others": lambda: token(claims_of(aud=["account", AUDIENCE])),
    "our audience in a list": lambda: token(claims_of(aud=[AUDIENCE])),
    "instants with fractions": lambda: token(claims_of(iat=time.time() - 1.5, exp=time.time() + 60.5)),
    "issued and valid from the first instant on": lambda: token(claims_of(iat=0, nbf=0)),
    "not before now": lambda: token(claims_of(nbf=int(time.time()))),
    "no name of its own": lambda: token(claims_of(jti=...)),
    "claims of other services": lambda: token(claims_of(roles=["a"], nested={"a": [1, None, True, 1.5]}, name="é")),
    "another key of the set": lambda: token(key=rsa_key("second")),
    "another algorithm of the issuer": lambda: token(key=ec_key(), algorithm="ES256"),
    "8 KiB": lambda: of_size(8 * 2**10),
}


def of_size(size: int) -> str:
    """Return a token of so many bytes."""
    for padding in range(size):
        text = token(claims_of(padding="x" * (padding + (size - 800) * 3 // 4)))
        if len(text) >= size:
            assert len(text) == size
            return text
    raise AssertionError


@pytest.mark.usefixtures("believed", "known")
@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED)
def test_a_token_as_issuers_make_them_is_believed(alice: Any, make: Callable[[], str]) -> None:
    assert identity_of(make()).user == alice


BY_ALGORITHM = {
    "ES256": ec_key, "ES384": lambda: ec_key("P-384", "long"), "ES512": lambda: ec_key("P-521", "longer"),
    "EdDSA": ed_key,
}  # fmt: skip


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("algorithm", ALL_ASYMMETRIC)
@pytest.mark.parametrize("source", ["set", "key"])
def test_every_algorithm(settings: Any, key_file: Path, alice: Any, algorithm: str, source: str) -> None:
    key = BY_ALGORITHM.get(algorithm, rsa_key)()
    options = {"key": ..., "jwks_file": key_file} if source == "set" else {"key": key.public_pem}
    believe(settings, {ISSUER: issuer(algorithms=[algorithm], **options)})
    assert identity_of(token(key=key, algorithm=algorithm)).user == alice


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", [SECRET, SECRET.encode()], ids=["text", "bytes"])
def test_a_secret_that_is_shared_with_the_issuer(
    settings: Any, alice: Any, algorithm: str, secret: str | bytes
) -> None:
    believe(settings, {ISSUER: issuer(algorithms=[algorithm], key=secret)})
    assert identity_of(with_secret(SECRET.encode(), algorithm=algorithm)).user == alice
    with pytest.raises(NotAuthenticated):
        identity_of(with_secret(SECRET[1:].encode(), algorithm=algorithm))


def raw(claims: str) -> bytes:
    """Return good claims as text, with more of it at the end."""
    return (json.dumps(claims_of())[:-1] + claims + "}").encode()


def flipped(part: int) -> str:
    """Return a good token with one bit of one part changed, still base64url of something."""
    parts = token().split(".")
    data = bytearray(decoded(parts[part]))
    data[len(data) // 2] ^= 1
    parts[part] = encoded(bytes(data))
    return ".".join(parts)


def respelled() -> str:
    """Return a good token whose last character has bits that Python ignores: 256 bytes leave four over."""
    text = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def stripped(ending: str = "") -> str:
    return token().rpartition(".")[0] + ending


def signed_by_attacker(**header: Any) -> str:
    return token(key=rsa_key("attackers"), **({"kid": "first"} | header))


def unsigned(algorithm: str, signature: str = "") -> str:
    return f"{encoded(document({'alg': algorithm, 'typ': 'JWT'}))}.{encoded(document(claims_of()))}.{signature}"


def now() -> int:
    return int(time.time())


SPELLING = "three parts of base64url"
JSON = "base64url of a JSON object"
SIGNATURE = "InvalidSignatureError"
TIME = "no instant"

# What is sent, and the reason that the log has. All that is not about the signature is signed by the issuer.
FORGED: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (lambda: unsigned("none", "AAAA"), "algorithm is none of"),
    "alg none in another spelling": (lambda: unsigned("nOnE", "AAAA"), "algorithm is none of"),
    "alg none without a signature": (lambda: unsigned("none"), SPELLING),
    "alg missing": (lambda: token(alg=...), "no algorithm"),
    "alg a list": (lambda: token(alg=["RS256"]), "no algorithm"),
    "alg of another algorithm": (lambda: token(algorithm="RS512"), "algorithm is none of"),
    "alg in lower case": (lambda: token(alg="rs256"), "algorithm is none of"),
    "the public key as a secret": (
        lambda: with_secret(rsa_key().public_pem.encode(), kid="first"), "algorithm is none of",
    ),
    "the public key as a secret, by its name": (
        lambda: with_secret(document(rsa_key().jwk()), kid="first"), "algorithm is none of",
    ),
    "an HMAC called RS256": (
        lambda: f"{stripped()}.{with_secret(rsa_key().public_pem.encode()).rpartition('.')[2]}", SIGNATURE,
    ),
    "a curve's key for RS256": (lambda: token(kid="curve"), "key is unknown"),
    "unknown kid": (lambda: token(kid="third"), "key is unknown"),
    "kid of another key": (lambda: token(kid="second"), SIGNATURE),
    "no kid": (lambda: token(kid=...), "key is unknown"),
    "kid empty": (lambda: token(kid=""), "key is unknown"),
    "kid a number": (lambda: token(kid=1), "kid is no text"),
    "kid a list": (lambda: token(kid=["first"]), "kid is no text"),
    "kid a path": (lambda: token(kid="../../dev/null"), "key is unknown"),
    "an attacker's key": (signed_by_attacker, SIGNATURE),
    "an attacker's key in jwk": (lambda: signed_by_attacker(jwk=rsa_key("attackers").jwk()), SIGNATURE),
    "an attacker's key in jwk alone": (
        lambda: signed_by_attacker(jwk=rsa_key("attackers").jwk(), kid=...), "key is unknown",
    ),
    "an attacker's certificate": (lambda: signed_by_attacker(x5c=["MIIB"], x5t="AA"), SIGNATURE),
    "a critical extension": (lambda: token(crit=["exp"], exp=1), "header crit"),
    "an empty list of extensions": (lambda: token(crit=[]), "header crit"),
    "claims that are not encoded": (lambda: token(b64=False, crit=["b64"]), "header crit"),
    "claims said not to be encoded": (lambda: token(b64=False), "header b64"),
    "type of a log-out": (lambda: token(typ="logout+jwt"), "another kind"),
    "type of a proof": (lambda: token(typ="dpop+jwt"), "another kind"),
    "type a list": (lambda: token(typ=["JWT"]), "another kind"),
    "type null": (lambda: token(typ=None), "another kind"),
    "nested": (lambda: token(token().encode(), cty="JWT"), JSON),
    "said to be nested": (lambda: token(cty="JWT"), "header cty"),
    "expired": (lambda: token(claims_of(exp=now() - 1)), "ExpiredSignatureError"),
    "expired now": (lambda: token(claims_of(exp=now())), "ExpiredSignatureError"),
    "not yet": (lambda: token(claims_of(nbf=now() + 30)), "ImmatureSignatureError"),
    "issued in the future": (lambda: token(claims_of(iat=now() + 30)), "ImmatureSignatureError"),
    **{f"no {name}": (lambda name=name: token(claims_of(**{name: ...})), text) for name, text in {
        "exp": TIME, "iat": TIME, "sub": "sub is missing", "iss": "issuer is unknown", "aud": "aud is missing",
    }.items()},
    **{f"{name} null": (lambda name=name: token(claims_of(**{name: None})), text) for name, text in {
        "exp": TIME, "iat": TIME, "nbf": TIME, "sub": "sub is missing", "iss": "issuer is unknown",
        "aud": "aud is missing",
    }.items()},
    **{f"{name} {kind}": (lambda name=name, value=value: token(claims_of(**{name: value()})), TIME)
       for name in ("exp", "iat", "nbf") for kind, value in {
           "a text": lambda: str(now() + 60), "true": lambda: True, "negative": lambda: -1,
           "a list": lambda: [now() + 60], "of 400 digits": lambda: 10**400,
           "out of the calendar": lambda: 10**12, "at the end of the calendar": lambda: 253_402_300_799,
       }.items()},
    "nbf infinite": (lambda: token(raw(', "nbf": 1e400')), TIME),
    "nbf NaN": (lambda: token(raw(', "nbf": NaN')), JSON),
    "nbf of 5000 digits": (lambda: token(raw(f', "nbf": {"9" * 5000}')), JSON),
    "another audience": (lambda: token(claims_of(aud="mail")), "InvalidAudienceError"),
    "the beginning of our audience": (lambda: token(claims_of(aud="file")), "InvalidAudienceError"),
    "more than our audience": (lambda: token(claims_of(aud="files2")), "InvalidAudienceError"),
    "our audience in capitals": (lambda: token(claims_of(aud="FILES")), "InvalidAudienceError"),
    "two audiences, neither ours": (lambda: token(claims_of(aud=["mail", "file"])), "InvalidAudienceError"),
    "no audience": (lambda: token(claims_of(aud=[])), "aud is missing"),
    "audience an object": (lambda: token(claims_of(aud={AUDIENCE: 1})), "aud is missing"),
    "audience with a number": (lambda: token(claims_of(aud=[AUDIENCE, 1])), "aud is missing"),
    "audience empty": (lambda: token(claims_of(aud="")), "aud is missing"),
    "unknown issuer": (lambda: token(claims_of(iss="https://evil.example")), "issuer is unknown"),
    "issuer with a slash": (lambda: token(claims_of(iss=f"{ISSUER}/")), "issuer is unknown"),
    "issuer in a list": (lambda: token(claims_of(iss=[ISSUER])), "issuer is unknown"),
    "issuer an object": (lambda: token(claims_of(iss={ISSUER: 1})), "issuer is unknown"),
    "signed by another issuer": (lambda: token(key=rsa_key("other"), kid="first"), SIGNATURE),
    "for another issuer": (lambda: token(claims_of(iss=OTHER_ISSUER)), SIGNATURE),
    "sub empty": (lambda: token(claims_of(sub="")), "sub is missing"),
    "sub a number": (lambda: token(claims_of(sub=1)), "sub is missing"),
    "sub of 256 characters": (lambda: token(claims_of(sub="x" * 256)), "sub is missing"),
    "sub with NUL": (lambda: token(claims_of(sub="alice\0")), JSON),
    "sub with half a character": (lambda: token(claims_of(sub="\ud800")), JSON),
    "a claim whose name has NUL": (lambda: token(raw(r', "a\u0000": 1')), JSON),
    "a claim whose name has half a character, within another": (lambda: token(raw(r', "a": [{"\ud800": 1}]')), JSON),
    "jti a number": (lambda: token(claims_of(jti=1)), "InvalidJTIError"),
    "a claim twice": (lambda: token(raw(', "sub": "bob-at-id"')), JSON),
    "a claim twice, spelt otherwise": (lambda: token(raw(r', "su\u0062": "alice-at-id"')), JSON),
    "a claim twice within another": (lambda: token(raw(', "a": {"b": 1, "b": 2}')), JSON),
    "a header twice": (
        lambda: token(header=b'{"alg": "RS256", "kid": "first", "alg": "RS256"}'), JSON,
    ),
    "claims a list": (lambda: token([claims_of()]), JSON),
    "claims a text": (lambda: token("x"), JSON),
    "claims empty": (lambda: token(b" "), JSON),
    "claims in UTF-16": (lambda: token(json.dumps(claims_of()).encode("utf-16")), JSON),
    "claims with a byte order mark": (lambda: token(b"\xef\xbb\xbf" + document(claims_of())), JSON),
    "claims not UTF-8": (lambda: token(raw(', "a": "').rstrip(b"}") + b'\xff"}'), JSON),
    "claims nested deeply": (lambda: token(raw(f', "a": {"[" * 2800}{"]" * 2800}')), JSON),
    "header a list": (lambda: token(header=b"[]"), JSON),
    "over 8 KiB": (lambda: of_size(8 * 2**10 + 1), "it has 8193 bytes; at most 8192"),
    "10 MB": (lambda: f"a.{'a' * 10**7}.a", "it has 10000004 bytes"),
    "not ASCII": (lambda: token()[:-1] + "é", SPELLING),
    "digits of another script": (lambda: token()[:-1] + "٣", SPELLING),
    "base64 of the other kind": (lambda: stripped(".ab+/"), SPELLING),
    "padded": (lambda: token() + "==", SPELLING),
    "a blank at the end": (lambda: token() + " ", SPELLING),
    "a line break at the end": (lambda: token() + "\n", SPELLING),
    "a comma and another": (lambda: f"{token()}, x", SPELLING),
    "in quotes": (lambda: f'"{token()}"', SPELLING),
    "signature stripped": (lambda: stripped("."), SPELLING),
    "signature of another token": (
        lambda: stripped("." + token(claims_of("bob-at-id")).rpartition(".")[2]), SIGNATURE,
    ),
    "signature of zeros": (lambda: stripped("." + encoded(bytes(256))), SIGNATURE),
    "signature cut": (lambda: stripped("." + encoded(bytes(255))), SIGNATURE),
    "signature spelt otherwise": (respelled, JSON),
    "header changed": (lambda: token(typ="JWT").replace(encoded(b'{"alg'), encoded(b'{"xlg'), 1), "no algorithm"),
    "claims of another token": (
        lambda: ".".join([token().split(".")[0], token(claims_of("root")).split(".")[1], token().split(".")[2]]),
        SIGNATURE,
    ),
    "one bit of the signature": (lambda: flipped(2), SIGNATURE),
    "unknown subject of 1 character": (lambda: token(claims_of("m")), "nobody here"),
    "unknown subject of 255 characters": (lambda: token(claims_of("m" * 255)), "nobody here"),
    "unknown subject": (lambda: token(claims_of("mallory")), "nobody here"),
    "subject in capitals": (lambda: token(claims_of("ALICE-AT-ID")), "nobody here"),
    "subject of another issuer": (
        lambda: token(claims_of(iss=OTHER_ISSUER), key=rsa_key("other")), "nobody here",
    ),
}  # fmt: skip
ASK_THE_DATABASE = {
    "unknown subject",
    "unknown subject of 1 character",
    "unknown subject of 255 characters",
    "subject in capitals",
    "subject of another issuer",
}


@pytest.mark.usefixtures("believed", "known")
class TestForged:
    @pytest.mark.parametrize(("make", "reason"), FORGED.values(), ids=FORGED)
    def test_refusals(
        self, make: Callable[[], str], reason: str, caplog: pytest.LogCaptureFixture, alice: Any, request: Any
    ) -> None:
        caplog.set_level(logging.INFO, "gateway.contrib.jwt")
        text = make()
        statements: list[str] = []
        with connection.execute_wrapper(lambda run, sql, *rest: (statements.append(sql), run(sql, *rest))[1]):
            with pytest.raises(NotAuthenticated):
                identity_of(text)
            # Whatever the session says: one of the very user helps no more.
            with pytest.raises(NotAuthenticated):
                authenticate(request_of(text, alice))
        assert [reason in record.getMessage() for record in caplog.records] == [True, True]
        assert text not in caplog.text
        assert bool(statements) == (request.node.callspec.id in ASK_THE_DATABASE)

    OF_NO_CONCERN = {
        "two parts": lambda: token().rpartition(".")[0],
        "five parts, encrypted": lambda: "a.b.c.d.e",
        "empty": lambda: "",
        "an API token": lambda: "pgw_" + "a" * 43,
        "opaque": lambda: "a" * 40,
    }

    @pytest.mark.parametrize("make", OF_NO_CONCERN.values(), ids=OF_NO_CONCERN)
    def test_what_is_no_token_of_this_kind_is_left_to_others(self, make: Callable[[], str]) -> None:
        assert JWTAuthenticator().authenticate(request_of(make())) is None
        with pytest.raises(NotAuthenticated):
            identity_of(make())

    @pytest.mark.parametrize("scheme", ["Token", "Basic", "JWT", "DPoP", ""])
    def test_another_scheme_is_left_to_others(self, scheme: str) -> None:
        request = request_of("")
        request.META["HTTP_AUTHORIZATION"] = f"{scheme} {token()}"
        assert JWTAuthenticator().authenticate(request) is None
        with pytest.raises(NotAuthenticated):
            authenticate(request)

    @pytest.mark.parametrize("header", ["jku", "x5u"])
    def test_an_address_in_the_header_is_never_asked(self, alice: Any, header: str) -> None:
        with KeyServer(rsa_key("attackers"), rsa_key()) as attacker:
            address = {header: attacker.key_set_url}
            for forged in (signed_by_attacker(**address), signed_by_attacker(kid="attackers", **address)):
                with pytest.raises(NotAuthenticated):
                    identity_of(forged)
            assert identity_of(token(**address)).user == alice
            assert attacker.connections == 0

    def test_a_database_that_compares_without_case_confuses_nobody(self, alice: Any) -> None:
        def without_case(run: Any, sql: str, *rest: Any) -> Any:
            column = '"presign_gateway_externalidentity"."subject"'
            return run(sql.replace(f"{column} = %s", f"LOWER({column}) = LOWER(%s)"), *rest)

        with connection.execute_wrapper(without_case):
            assert ExternalIdentity.objects.filter(subject="ALICE-AT-ID").exists()
            with pytest.raises(NotAuthenticated):
                identity_of(token(claims_of("ALICE-AT-ID")))
            assert identity_of(token()).user == alice


def anybody(claims: dict[str, Any]) -> Any:
    return get_user_model()(pk=1, username="anybody")


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.integers(now() - 100, now() + 700) | st.sampled_from([ISSUER, AUDIENCE, "first", "RS256", "JWT"])
)  # fmt: skip
VALUES = ATOMS | st.lists(ATOMS, max_size=3) | st.dictionaries(st.text(max_size=3), ATOMS, max_size=2)
HEADERS = st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5c", "zip", "nonce"])
CLAIMS = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scp", "x"])


@settings(deadline=None)
@given(header=st.dictionaries(HEADERS, VALUES, max_size=3), claims=st.dictionaries(CLAIMS, VALUES, max_size=4))
def test_whatever_an_issuer_signs_is_believed_or_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    text = token(claims_of(**claims), header={"alg": "RS256", "kid": "first"} | header)
    with override_settings(GATEWAY={"JWT_ISSUERS": only(user=f"{__name__}.anybody", scopes_claim="scp")}):
        try:
            principal = JWTAuthenticator().authenticate(request_of(text))
        except NotAuthenticated:
            return
    assert principal is not None
    assert principal.user.username == "anybody"
    assert principal.authority_ends_at is not None
    assert principal.authority_ends_at > datetime.now(UTC) - timedelta(seconds=1)
    assert not {"crit", "cty", "b64"} & set(header)


@given(text=st.text(max_size=200) | st.from_regex(r"[\w-]{1,80}\.[\w-]{1,80}\.[\w-]{0,80}=*", fullmatch=True))
def test_whatever_is_no_token_is_refused_or_left_to_others(text: str) -> None:
    request = HttpRequest()
    request.META = {"HTTP_AUTHORIZATION": f"Bearer {text}"}
    with override_settings(GATEWAY={"JWT_ISSUERS": only()}):
        try:
            assert JWTAuthenticator().authenticate(request) is None
        except NotAuthenticated:
            assert text.count(".") == 2


@pytest.mark.usefixtures("known")
class TestLeeway:
    """Clocks may differ by so much, and no more."""

    @pytest.fixture(autouse=True)
    def believed(self, settings: Any) -> None:
        believe(settings, {ISSUER: issuer(leeway_seconds=30)})

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_a_clock_that_is_ahead(self, alice: Any, name: str) -> None:
        assert identity_of(token(claims_of(**{name: now() + 25}))).user == alice
        with pytest.raises(NotAuthenticated):
            identity_of(token(claims_of(**{name: now() + 35})))

    def test_a_token_that_has_just_ended_has_authority_as_long_as_it_is_believed(self) -> None:
        end = now() - 5
        assert identity_of(token(claims_of(exp=end))).authority_ends_at == datetime.fromtimestamp(end + 30, UTC)
        with pytest.raises(NotAuthenticated):
            identity_of(token(claims_of(exp=now() - 30)))

    def test_the_last_instant_of_the_calendar(self) -> None:
        ends_at = identity_of(token(claims_of(exp=253_370_764_800))).authority_ends_at
        assert ends_at is not None
        assert ends_at.year == 9999


class TestUsers:
    def test_nobody_is_made(self, settings: Any, db: None) -> None:
        believe(settings, {ISSUER: issuer()})
        with pytest.raises(NotAuthenticated):
            identity_of(token())
        assert not get_user_model().objects.exists()
        assert not ExternalIdentity.objects.exists()

    def test_one_that_is_not_active_is_none(self, settings: Any, known: ExternalIdentity, alice: Any) -> None:
        believe(settings, {ISSUER: issuer()})
        type(alice).objects.update(is_active=False)
        with pytest.raises(NotAuthenticated):
            identity_of(token())

    def test_one_that_was_taken_off_the_issuer_is_none(self, settings: Any, known: ExternalIdentity) -> None:
        believe(settings, {ISSUER: issuer()})
        identity_of(token())
        known.delete()
        with pytest.raises(NotAuthenticated):
            identity_of(token())

    def test_two_subjects_may_be_one_user_and_no_subject_two(self, known: ExternalIdentity, bob: Any) -> None:
        ExternalIdentity.objects.create(issuer=ISSUER, subject="alice-again", user=known.user)
        with pytest.raises(IntegrityError):
            ExternalIdentity.objects.create(issuer=ISSUER, subject="alice-at-id", user=bob)

    def test_the_project_may_map_them(self, settings: Any, alice: Any, django_assert_num_queries: Any) -> None:
        believe(settings, {ISSUER: issuer(user=f"{__name__}.by_email")})
        with django_assert_num_queries(2):
            assert identity_of(token(claims_of(email="alice"))).user == alice

    def test_the_project_may_make_them(self, settings: Any, db: None) -> None:
        believe(settings, {ISSUER: issuer(user=f"{__name__}.made")})
        assert identity_of(token(claims_of("carol"))).user.username == "carol"
        assert identity_of(token(claims_of("carol"))).user == get_user_model().objects.get()

    def test_whom_the_project_does_not_know_is_nobody(self, settings: Any, known: ExternalIdentity) -> None:
        believe(settings, {ISSUER: issuer(user=f"{__name__}.by_email")})
        with pytest.raises(NotAuthenticated):
            identity_of(token(claims_of(email="mallory")))

    def test_the_project_is_asked_about_verified_claims_alone(self, settings: Any, db: None) -> None:
        believe(settings, {ISSUER: issuer(user=f"{__name__}.made")})
        with pytest.raises(NotAuthenticated):
            identity_of(signed_by_attacker())
        assert not get_user_model().objects.exists()

    def test_one_of_the_projects_that_is_not_active_is_none(self, settings: Any, alice: Any) -> None:
        type(alice).objects.update(is_active=False)
        believe(settings, {ISSUER: issuer(user=f"{__name__}.by_email")})
        with pytest.raises(NotAuthenticated):
            identity_of(token(claims_of(email="alice")))

    def test_what_is_no_user_is_an_error_of_the_project(self, settings: Any, db: None) -> None:
        believe(settings, {ISSUER: issuer(user=f"{__name__}.no_user")})
        with pytest.raises(ValueError, match="must be a"):
            identity_of(token())

    def test_a_database_that_is_down(self, settings: Any, known: ExternalIdentity) -> None:
        believe(settings, {ISSUER: issuer()})
        with database_down_for("presign_gateway_externalidentity") as met, pytest.raises(DatabaseUnavailable):
            identity_of(token())
        assert met


def by_email(claims: dict[str, Any]) -> Any:
    return get_user_model().objects.filter(username=claims["email"]).first()


def made(claims: dict[str, Any]) -> Any:
    return get_user_model().objects.get_or_create(username=claims["sub"])[0]


def no_user(claims: dict[str, Any]) -> Any:
    return claims["sub"]


not_callable = "a text"


SCOPES: dict[str, tuple[Any, list[str]]] = {
    "a text": ("openid Download Upload", ["Download", "Upload"]),
    "a list": (["Download", "profile"], ["Download"]),
    "none of ours": ("openid profile", []),
    "in lower case": ("download", []),
    "part of a name": ("Downloads", []),
    "separated otherwise": ("Download,Upload", []),
    "empty": ("", []),
    "missing": (..., []),
}


class TestTakenBack:
    def test_what_was_issued_before_is_refused_and_the_next_is_not(
        self, settings: Any, known: ExternalIdentity
    ) -> None:
        believe(settings, {ISSUER: issuer(leeway_seconds=30)})
        now = int(time.time())
        taken_at = datetime.fromtimestamp(now, UTC) - timedelta(seconds=60)
        with acting_as(SYSTEM, reason="test") as system:
            revoke("principal", f"user:{known.user.pk}", by=system)
        Epoch.objects.update(at=taken_at)
        with pytest.raises(NotAuthenticated, match="was taken back"):
            identity_of(token(claims_of(iat=now - 61)))
        # An issuer's clock may be ahead by the leeway; only what is newer by more is surely newer.
        with pytest.raises(NotAuthenticated, match="was taken back"):
            identity_of(token(claims_of(iat=now - 31)))
        assert identity_of(token(claims_of(iat=now))).user == known.user


@pytest.mark.usefixtures("known")
class TestScopes:
    @pytest.fixture(autouse=True)
    def believed(self, settings: Any) -> None:
        believe(settings, {ISSUER: issuer(scopes_claim="scp")})

    @pytest.mark.parametrize(("claim", "scopes"), SCOPES.values(), ids=SCOPES)
    def test_they_are_what_the_claim_lists(self, claim: Any, scopes: list[str]) -> None:
        principal = identity_of(token(claims_of(scp=claim, scope="Delete")))
        assert principal.token is not None
        assert principal.token.scopes == scopes

    @pytest.mark.parametrize("claim", [None, 1, True, {"Download": 1}, ["Download", 1]], ids=repr)
    def test_a_claim_of_another_form_is_refused(self, claim: Any) -> None:
        with pytest.raises(NotAuthenticated):
            identity_of(token(claims_of(scp=claim)))


def only(**options: Any) -> dict[str, Any]:
    return {ISSUER: issuer(**options)}


WRONG: dict[str, tuple[Any, str]] = {
    "no issuer": ({}, "is empty; at least one issuer"),
    "not a dict": ({ISSUER: "secret"}, "is of type str; a dict"),
    "unknown key": (only(secret="s"), "unknown key 'secret'; known are algorithms, audience"),
    "name of 256 characters": ({"x" * 256: issuer()}, "has 256 characters; at most 255"),
    "name of two lines": ({"a\nb": issuer()}, "printable"),
    "no audience": (only(audience=...), "['audience'] is None; a text"),
    "empty audience": (only(audience=""), "['audience'] is ''; a text"),
    "audience a list": (only(audience=["a"]), "['audience'] is ['a']; a text"),
    "no algorithms": (only(algorithms=...), "['algorithms'] is None; a list of RS256"),
    "empty algorithms": (only(algorithms=[]), "['algorithms'] is []; a list of"),
    "algorithms a text": (only(algorithms="RS256"), "['algorithms'] is 'RS256'; a list of"),
    "algorithm none": (only(algorithms=["RS256", "none"]), "['algorithms'] is ['RS256', 'none']; a list of"),
    "unknown algorithm": (only(algorithms=["ES256K"]), "a list of"),
    "algorithm in lower case": (only(algorithms=["rs256"]), "a list of"),
    "both kinds of algorithms": (only(algorithms=["RS256", "HS256"]), "either symmetric or asymmetric"),
    "symmetric with a file": (
        only(algorithms=["HS256"], key=..., jwks_file="keys"), "is ['HS256']; asymmetric ones with jwks_file",
    ),
    "symmetric with an address": (
        only(algorithms=["HS256"], key=..., jwks_url="https://id.example/keys"), "asymmetric ones with jwks_url",
    ),
    "no key": (only(key=...), "has no key; one of jwks_url, jwks_file, key"),
    "two keys": (only(jwks_file="keys.json"), "has jwks_file and key; one of"),
    "leeway too long": (only(leeway_seconds=31), "['leeway_seconds'] is 31; a whole number from 0 to 30"),
    "leeway negative": (only(leeway_seconds=-1), "is -1; a whole"),
    "leeway true": (only(leeway_seconds=True), "is True; a whole"),
    "leeway a float": (only(leeway_seconds=1.5), "is 1.5; a whole"),
    "scopes empty": (only(scopes_claim=""), "['scopes_claim'] is ''; a text"),
    "user a function": (only(user=by_email), "['user'] is <function by_email"),
    "user not there": (only(user=f"{__name__}.missing"), "cannot be had: ImportError"),
    "user not callable": (only(user=f"{__name__}.not_callable"), "cannot be called; user(claims)"),
    "secret too short": (only(algorithms=["HS256"], key="x" * 31), "has 31 bytes; at least 32 for HS256"),
    "secret too short for one": (
        only(algorithms=["HS256", "HS512"], key="x" * 63), "has 63 bytes; at least 64 for HS256, HS512",
    ),
    "secret empty": (only(algorithms=["HS256"], key=""), "has 0 bytes; at least 32"),
    "secret None": (only(algorithms=["HS256"], key=None), "is of type NoneType; text or bytes"),
    "secret a public key": (only(algorithms=["HS256"]), "is a PEM document; a secret for HS256"),
    "key a secret": (only(key=SECRET), "is no public key in PEM"),
    "key a private key": (only(key=rsa_key().private_pem), "is no public key in PEM"),
    "key None": (only(key=None), "is of type NoneType; a public key in PEM"),
    "key of another type": (only(algorithms=["RS256", "ES256"]), "is no key for ES256"),
    "key on another curve": (only(algorithms=["ES384"], key=ec_key().public_pem), "is no key for ES384"),
    "key too weak": (only(key=rsa_key("weak", 1024).public_pem), "is no key for RS256, or too weak"),
    "address over http": (only(key=..., jwks_url="http://id.example/keys"), "https, or http while DEBUG is on"),
    "address with a password": (only(key=..., jwks_url="https://u:hidden@id.example/"), "has a user name"),
    "address None": (only(key=..., jwks_url=None), "is no text"),
    **{f"address {url}": (only(key=..., jwks_url=url), f"is {url!r}; https://host/path") for url in (
        "", "id.example/keys", "//id.example/keys", "ftp://id.example/keys", "file:///etc/keys", "https://",
        "https:///keys", "https://id.example/keys#a", "https://id.example/a b", "https://id.example/\n",
        "https://id.example:99999/", "https://id.example:0/", "https://id.example:/", "https://ID.example/",
        "https://id.example?a=b", "https://id.example/é", "https://id.example/%zz", "https://id.example\\keys",
    )},
    "file missing": (only(key=..., jwks_file="no/such/file"), "['jwks_file'] is 'no/such/file'; a file with a"),
    "file empty": (only(key=..., jwks_file=""), "is ''; a path"),
    "file None": (only(key=..., jwks_file=None), "is None; a path"),
}  # fmt: skip


class TestSettings:
    @pytest.mark.parametrize(("given", "text"), WRONG.values(), ids=WRONG)
    def test_refusals(self, settings: Any, given: dict[str, Any], text: str) -> None:
        believe(settings, given)
        assert conf().jwt_issuers == given  # what is wrong is said when tokens are to be read, and by the check
        with pytest.raises(ImproperlyConfigured) as refused:
            authenticate(RequestFactory().get("/"))
        assert str(refused.value).startswith("GATEWAY['JWT_ISSUERS']")
        assert text in str(refused.value)
        for secret in (SECRET, "hidden", "PRIVATE", "xxx"):
            assert secret not in str(refused.value).replace("x" * 256, "the name")

    def test_the_system_check_says_so(self, settings: Any) -> None:
        believe(settings, {ISSUER: issuer(audience="")})
        found = [message for message in messages() if message.id == "gateway.E061"]
        assert [message.hint for message in found] == [FIXES["E061"]]
        assert "['audience'] is ''" in found[0].msg

    def test_a_right_one_passes_the_system_check(self, settings: Any) -> None:
        believe(settings, {ISSUER: issuer(key=..., jwks_url="https://id.example/keys")})
        assert not [message for message in messages() if message.id == "gateway.E061"]

    def test_nothing_is_asked_before_a_token_comes(self, settings: Any, db: None) -> None:
        with KeyServer(rsa_key()) as server:
            by_address(settings, server)
            with pytest.raises(NotAuthenticated):
                authenticate(RequestFactory().get("/"))
            assert server.connections == 0

    def test_http_is_for_development(self, settings: Any, alice: Any, known: ExternalIdentity) -> None:
        with KeyServer(rsa_key()) as server:
            by_address(settings, server)
            assert identity_of(token()).user == alice
            settings.DEBUG = False
            believe(settings, conf().jwt_issuers)
            with pytest.raises(ImproperlyConfigured):
                identity_of(token())

    BAD_SETS: dict[str, Any] = {
        "not JSON": b"{",
        "no object": b"[]",
        "no set": rsa_key().jwk(),
        "keys no list": {"keys": {}},
        "empty": {"keys": []},
        "no objects": {"keys": [1, None, "x", []]},
        "no kid": {"keys": [{name: value for name, value in rsa_key().jwk().items() if name != "kid"}]},
        "kid a number": key_set(rsa_key().jwk(kid=1)),
        "for encryption": key_set(rsa_key().jwk(use="enc")),
        "for signing alone": key_set(rsa_key().jwk(key_ops=["sign"])),
        "operations a text": key_set(rsa_key().jwk(key_ops="verify")),
        "for another algorithm": key_set(rsa_key().jwk(alg="RS512")),
        "of another type": key_set(ec_key()),
        "a secret": key_set({"kty": "oct", "kid": "first", "k": encoded(SECRET.encode())}),
        "a secret said to be RSA": key_set({"kty": "RSA", "kid": "first", "k": encoded(SECRET.encode())}),
        "numbers that are none": key_set(rsa_key().jwk(n=5), rsa_key().jwk(n="!"), rsa_key().jwk(e=None)),
        "even exponent": key_set(rsa_key().jwk(e="Ag")),
        "too weak": key_set(rsa_key("weak", 1024)),
        "a name twice": b'{"keys": [], ' + document(key_set(rsa_key()))[1:],
        "over 256 KiB": {**key_set(rsa_key()), "padding": "x" * 2**18},
    }

    @pytest.mark.parametrize("key_set_", BAD_SETS.values(), ids=BAD_SETS)
    def test_a_file_without_a_key_that_could_be_used(self, settings: Any, tmp_path: Path, key_set_: Any) -> None:
        path = tmp_path / "keys.json"
        path.write_bytes(document(key_set_))
        with pytest.raises(ImproperlyConfigured, match="a file with a key set for RS256"):
            read_issuers({ISSUER: issuer(key=..., jwks_file=path)})

    GOOD_SETS: dict[str, Any] = {
        "other members": {**key_set(rsa_key().jwk(use="sig", x5c=["MII"], x5t="a")), "issuer": ISSUER},
        "an algorithm": key_set(rsa_key().jwk(alg="RS256", key_ops=["verify", "sign"])),
        "keys of no use before it": key_set({"kty": "oct", "k": "AA"}, rsa_key().jwk(n=5), ec_key(), rsa_key()),
        "a private key by mistake": key_set(rsa_key().jwk(d="AQAB", p="AQAB", q="AQAB")),
        "the same name for another type": key_set(ec_key("P-256", "first"), rsa_key()),
    }

    @pytest.mark.parametrize("key_set_", GOOD_SETS.values(), ids=GOOD_SETS)
    def test_a_file_with_one(self, settings: Any, tmp_path: Path, key_set_: Any, known: Any, alice: Any) -> None:
        path = tmp_path / "keys.json"
        path.write_bytes(document(key_set_))
        believe(settings, {ISSUER: issuer(key=..., jwks_file=str(path), algorithms=["RS256", "ES256"])})
        assert identity_of(token()).user == alice

    def test_one_key_is_taken_whatever_a_token_calls_it(self, settings: Any, known: Any, alice: Any) -> None:
        believe(settings, {ISSUER: issuer()})
        for kid in ("first", "another", ...):
            assert identity_of(token(kid=kid)).user == alice


class TestFile:
    def test_another_file_brings_other_keys(self, settings: Any, key_file: Path, known: Any, alice: Any) -> None:
        believe(settings, {ISSUER: issuer(key=..., jwks_file=key_file)})
        identity_of(token())
        replace(key_file, document(key_set(rsa_key("next"))))
        assert identity_of(token(key=rsa_key("next"))).user == alice
        with pytest.raises(NotAuthenticated):
            identity_of(token())

    @pytest.mark.parametrize("content", [b"{", None], ids=["broken", "missing"])
    def test_one_that_cannot_be_read_changes_nothing(
        self, settings: Any, key_file: Path, known: Any, alice: Any, content: bytes | None
    ) -> None:
        believe(settings, {ISSUER: issuer(key=..., jwks_file=key_file)})
        identity_of(token())
        replace(key_file, content)
        assert identity_of(token()).user == alice
        replace(key_file, document(key_set(rsa_key("next"))))
        assert identity_of(token(key=rsa_key("next"))).user == alice


def replace(path: Path, content: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def by_address(settings: Any, server: KeyServer, **options: Any) -> None:
    settings.DEBUG = True
    believe(settings, {ISSUER: issuer(key=..., jwks_url=server.key_set_url, **options)})


class Clock:
    """Lets monotonic time pass; what waits and what times out still does so in real time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + self._ahead)

    def pass_by(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer(rsa_key()) as one:
        yield one


@pytest.fixture
def keys(settings: Any, server: KeyServer) -> KeySource:
    """The keys at the address."""
    settings.DEBUG = True
    return read_issuers({ISSUER: issuer(key=..., jwks_url=server.key_set_url)})[ISSUER].keys


def found(keys: KeySource, kid: str = "first") -> bool:
    return keys.find(kid, "RS256") is not None


def settled(condition: Callable[[], bool]) -> bool:
    """Wait until something that another thread does is done."""
    for _ in range(200):
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


def at_once(count: int, ask: Callable[[], Any]) -> list[Any]:
    """Ask in many threads at the same moment, and return the answers and the errors."""
    barrier = threading.Barrier(count)
    answers: list[Any] = []

    def run() -> None:
        barrier.wait()
        try:
            answers.append(ask())
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


TROUBLES: dict[str, Trouble] = {
    "hangs": HANGS,
    "drips": DRIPS,
    "disconnects": DISCONNECTS,
    "garbage": GARBAGE,
    "empty": EMPTY,
    "not found": status(404),
    "down": status(503, Retry_After="0"),
    "slow": slow(3.0),
    "over 256 KiB": Trouble(body=document({**key_set(rsa_key()), "padding": "x" * 2**18})),
    "no keys": Trouble(body=b'{"keys": []}'),
    "right, but an error": Trouble(status=500, body=document(key_set(rsa_key()))),
}


class TestAddress:
    def test_keys_are_fetched_once(self, keys: KeySource, server: KeyServer) -> None:
        assert [found(keys) for _ in range(5)] == [True] * 5
        assert server.asked() == 1

    def test_a_cold_start_of_64_threads_is_one_question(self, keys: KeySource, server: KeyServer) -> None:
        server.trouble = slow(0.1)
        assert at_once(64, lambda: found(keys)) == [True] * 64
        assert server.asked() == 1

    def test_a_key_that_is_new_is_fetched(self, keys: KeySource, server: KeyServer, clock: Clock) -> None:
        assert found(keys)
        server.keys = (rsa_key(), rsa_key("next"))
        clock.pass_by(61)
        assert found(keys, "next")
        assert server.asked() == 2

    def test_a_key_that_is_gone_is_refused_when_the_set_is_old(
        self, keys: KeySource, server: KeyServer, clock: Clock
    ) -> None:
        assert found(keys)
        server.keys = (rsa_key("next"),)
        clock.pass_by(599)
        assert found(keys)
        assert server.asked() == 1
        clock.pass_by(2)
        assert found(keys)  # nobody waits for the fetch that this one starts
        assert settled(lambda: not found(keys))
        assert server.asked() == 2

    def test_an_unknown_key_is_asked_for_once_a_minute_under_64_threads(
        self, keys: KeySource, server: KeyServer, clock: Clock
    ) -> None:
        assert found(keys)
        for minute in range(3):
            for _ in range(3):
                assert at_once(64, lambda: found(keys, "unknown")) == [False] * 64
            assert server.asked() == 1 + minute
            clock.pass_by(61)

    def test_no_key_is_asked_for_without_a_name(self, keys: KeySource, server: KeyServer) -> None:
        assert keys.find(None, "RS256") is None
        assert server.connections == 0

    @pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
    def test_without_any_keys_it_cannot_be_told(self, keys: KeySource, server: KeyServer, trouble: Trouble) -> None:
        server.trouble = trouble
        began = time.monotonic()
        answers = at_once(8, lambda: found(keys))
        assert time.monotonic() - began < 2  # the wait is a second
        assert [type(answer) for answer in answers] == [Unavailable] * 8
        assert server.connections == 1

    @pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
    def test_the_last_keys_hold(self, keys: KeySource, server: KeyServer, clock: Clock, trouble: Trouble) -> None:
        assert found(keys)
        server.trouble = trouble
        clock.pass_by(601)
        began = time.monotonic()
        assert found(keys)
        assert time.monotonic() - began < 0.5
        assert settled(lambda: server.connections == 2)
        assert found(keys)
        assert not found(keys, "unknown")

    def test_the_last_keys_hold_for_a_day(self, keys: KeySource, server: KeyServer, clock: Clock) -> None:
        assert found(keys)
        server.refuse()
        clock.pass_by(24 * 3600 - 5)
        assert found(keys)
        clock.pass_by(6)
        with pytest.raises(Unavailable):
            found(keys)

    def test_without_any_keys_it_is_asked_again_after_5_seconds(
        self, keys: KeySource, server: KeyServer, clock: Clock
    ) -> None:
        server.trouble = status(500)
        for _ in range(3):
            with pytest.raises(Unavailable):
                found(keys)
        assert server.asked() == 1
        server.trouble = None
        clock.pass_by(5.1)
        assert found(keys)
        clock.pass_by(50)
        assert not found(keys, "unknown")
        assert server.asked() == 2

    def test_who_comes_late_does_not_wait(self, keys: KeySource, server: KeyServer) -> None:
        server.trouble = HANGS
        with pytest.raises(Unavailable):
            found(keys)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            found(keys)
        assert time.monotonic() - began < 0.5

    def test_a_redirect_is_not_followed(self, keys: KeySource, server: KeyServer) -> None:
        with KeyServer(rsa_key()) as attacker:
            server.trouble = Trouble(status=302, body=b"", headers={"Location": attacker.key_set_url})
            with pytest.raises(Unavailable):
                found(keys)
            assert attacker.connections == 0

    def test_a_proxy_of_the_environment_is_not_used(
        self, keys: KeySource, server: KeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with KeyServer(rsa_key()) as attacker:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                monkeypatch.setenv(name, attacker.url)
            assert found(keys)
            assert attacker.connections == 0

    def test_a_failed_fetch_is_logged_without_what_came(
        self, keys: KeySource, server: KeyServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.trouble = GARBAGE
        with pytest.raises(Unavailable):
            found(keys)
        assert "cannot be had: UnicodeDecodeError" in caplog.text
        assert "certainly" not in caplog.text


def client_of(text: str) -> ApiClient:
    return ApiClient(headers={"Authorization": f"Bearer {text}"})


@pytest.mark.usefixtures("believed", "known")
class TestAPI:
    def test_a_token_gets_a_link(self, alice: Any) -> None:
        response = client_of(token()).send(LINKS, {"file": str(file_of(alice).pk)})
        assert response.status_code == 201
        row = Issuance.objects.get()
        assert (row.principal, row.credential) == (f"user:{alice.pk}", identity_of(token()).credential)

    def test_a_link_does_not_outlive_it(self, alice: Any) -> None:
        end = now() + 60
        link = client_of(token(claims_of(exp=end))).send(LINKS, {"file": str(file_of(alice).pk)}).json()
        assert link["limited_by"] == "token"
        assert datetime.fromisoformat(link["expires_at"]) <= datetime.fromtimestamp(end, UTC)
        assert link["expires_in"] > 50

    @pytest.mark.parametrize("name", ["alg none", "expired", "an attacker's key", "unknown subject", "not ASCII"])
    def test_a_forged_one_is_a_problem(self, alice: Any, name: str) -> None:
        text = FORGED[name][0]().encode().decode("latin-1")  # as servers hand on what is no ASCII
        response = client_of(text).send(LINKS, {"file": str(file_of(alice).pk)})
        assert response.status_code == 401
        assert response.json() == {
            "type": "about:blank", "title": "A valid identity is needed.", "status": 401,
            "code": "not_authenticated", "detail": "A valid identity is needed.",
        }  # fmt: skip
        assert issued() == 0

    def test_it_reaches_the_files_of_its_user_alone(self, bob: Any) -> None:
        response = client_of(token()).send(LINKS, {"file": str(file_of(bob).pk)})
        assert response.status_code == 404
        assert issued() == 0

    def test_beside_the_session_of_another_user_it_is_refused(self, alice: Any, bob: Any) -> None:
        client = by_session(bob)
        response = client.send(LINKS, {"file": str(file_of(alice).pk)}, headers={"Authorization": f"Bearer {token()}"})
        assert response.status_code == 401
        assert issued() == 0

    def test_beside_a_session_of_its_user_it_counts(self, alice: Any) -> None:
        client = by_session(alice)
        del client.cookies["csrftoken"]  # which a session alone would need
        response = client.send(LINKS, {"file": str(file_of(alice).pk)}, headers={"Authorization": f"Bearer {token()}"})
        assert response.status_code == 201
        assert Issuance.objects.get().credential == identity_of(token()).credential

    def test_api_tokens_are_believed_beside_it(self, alice: Any) -> None:
        assert client_of(token_of(alice)).send(LINKS, {"file": str(file_of(alice).pk)}).status_code == 201

    def test_its_scopes_are_kept(self, alice: Any, settings: Any, key_file: Path) -> None:
        believe(settings, {ISSUER: issuer(key=..., jwks_file=key_file, scopes_claim="scope")})
        file = file_of(alice)
        asked = {"file": str(file.pk)}
        assert client_of(token(claims_of(scope="Upload"))).send(LINKS, asked).status_code == 404
        assert client_of(token(claims_of(scope="Download"))).send(LINKS, asked).status_code == 201
        deleted = client_of(token(claims_of(scope="Download"))).delete(f"/api/v1/files/{file.pk}")
        assert deleted.status_code == 404

    def test_keys_that_cannot_be_had_are_no_fault_of_the_client(self, alice: Any, settings: Any) -> None:
        with KeyServer(rsa_key()) as server:
            by_address(settings, server)
            server.trouble = status(500)
            response = client_of(token()).send(LINKS, {"file": str(file_of(alice).pk)})
        assert response.status_code == 503
        assert response.json()["code"] == "unavailable"
        assert issued() == 0

    def test_a_key_that_is_rotated_in_is_taken_and_the_old_one_refused(
        self, alice: Any, settings: Any, clock: Clock
    ) -> None:
        with KeyServer(rsa_key()) as server:
            by_address(settings, server)
            asked = {"file": str(file_of(alice).pk)}
            assert client_of(token()).send(LINKS, asked).status_code == 201
            server.keys = (rsa_key("next"),)
            clock.pass_by(61)
            assert client_of(token(key=rsa_key("next"))).send(LINKS, asked).status_code == 201
            assert client_of(token()).send(LINKS, asked).status_code == 401

    def test_a_user_that_was_deactivated_is_refused_at_once(self, alice: Any) -> None:
        asked = {"file": str(file_of(alice).pk)}
        client = client_of(token())
        assert client.send(LINKS, asked).status_code == 201
        type(alice).objects.update(is_active=False)
        assert client.send(LINKS, asked).status_code == 401
        assert issued() == 1

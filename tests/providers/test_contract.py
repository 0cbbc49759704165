"""The contract itself: good providers pass it, and each way to break it fails the clause that is about it."""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from providers import (
    Capabilities,
    Checksum,
    ContractBroken,
    Download,
    LocalProvider,
    Operation,
    Provider,
    S3Provider,
    SecretKey,
    SignedURL,
    UnsupportedOperation,
    Upload,
    UploadForm,
    UploadPart,
    check_provider,
    contract,
)
from tests.providers.examples import BUCKET, NOW, STATIC, TEMPORARY

S3: dict[str, Any] = {"bucket": BUCKET, "region": "eu-central-1", "credentials": STATIC}
RING = [SecretKey(b"first secret of the ring, 32 bytes at least"), SecretKey(b"k" * 32)]

GOOD: dict[str, Provider] = {
    "s3-virtual": S3Provider(**S3),
    "s3-path": S3Provider(**S3, addressing_style="path"),
    "s3-dotted-bucket": S3Provider(**S3 | {"bucket": "my.dotted.bucket"}),
    "s3-custom-endpoint": S3Provider(**S3, endpoint_url="http://127.0.0.1:9000/base", addressing_style="path"),
    "s3-session-token": S3Provider(**S3 | {"credentials": TEMPORARY}),
    "s3-credential-that-ends": S3Provider(
        **S3 | {"credentials": replace(TEMPORARY, expires_at=NOW + timedelta(days=30))}
    ),
    "local": LocalProvider(base_url="/files/", secret_keys=RING),
    "local-with-host": LocalProvider(base_url="https://files.example/a%20b/", secret_keys=RING),
}


@pytest.mark.parametrize("provider", GOOD.values(), ids=GOOD)
def test_our_providers_keep_the_contract(provider: Provider) -> None:
    check_provider(provider)
    check_provider(provider, now=NOW.replace(microsecond=123_456))
    check_provider(provider, now=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))


# --- providers broken on purpose ---------------------------------------------------------------------------


class Wrapper:
    """Hand everything on to a good provider: each row below overrides one thing, or replaces one answer."""

    def __init__(self, good: Provider) -> None:
        self.good = good
        self.capabilities: Any = good.capabilities
        self.base_url: Any = good.base_url

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        return self.good.sign(operation, ttl=ttl, now=now)

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return [self.sign(operation, ttl=ttl, now=now) for operation in operations]


class NotAProvider:
    capabilities = S3Provider.capabilities
    base_url = "https://store.example/"


class MaxTTL(Wrapper):
    ttl = timedelta(days=8)

    def __init__(self, good: Provider) -> None:
        super().__init__(good)
        self.capabilities = replace(good.capabilities, max_ttl=self.ttl)


class NoTTL(MaxTTL):
    ttl = timedelta(0)


def asks(change: Callable[[Any], Any]) -> type[Wrapper]:
    """Make a provider that signs another operation than it is asked for."""

    class Asks(Wrapper):
        def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
            return super().sign(change(operation), ttl=ttl, now=now)

    return Asks


def answers(change: Callable[[SignedURL], SignedURL]) -> type[Wrapper]:
    """Make a provider that changes each answer after signing it."""

    class Answers(Wrapper):
        def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
            return change(super().sign(operation, ttl=ttl, now=now))

    return Answers


def only(kind: Any, **changes: Any) -> Callable[[Any], Any]:
    """Replace fields of operations of one class."""

    def change(operation: Any) -> Any:
        return replace(operation, **changes) if isinstance(operation, kind) else operation

    return change


def without_checksum(algorithm: str) -> Callable[[Any], Any]:
    def change(operation: Any) -> Any:
        if isinstance(operation, Upload) and operation.checksum and operation.checksum.algorithm == algorithm:
            return replace(operation, checksum=None)
        return operation

    return change


def constant_checksum(operation: Any) -> Any:
    if isinstance(operation, Upload) and operation.checksum and operation.checksum.algorithm == "sha256":
        return replace(operation, checksum=Checksum("sha256", bytes(32)))
    return operation


def lower_case_key(operation: Any) -> Any:
    return replace(operation, key=operation.key.replace(" ", "_")) if hasattr(operation, "key") else operation


class SignsForms(Wrapper):
    """A local store that says nothing when it is asked for a form, and signs an upload instead."""

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        if isinstance(operation, UploadForm):
            operation = Upload(operation.key, content_type=operation.content_type, size_bytes=operation.max_bytes)
        return super().sign(operation, ttl=ttl, now=now)


class SignsAnyDigest(Wrapper):
    """A local store that drops the checksum which it cannot bind."""

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        if isinstance(operation, Upload) and operation.checksum and operation.checksum.algorithm != "sha256":
            operation = replace(operation, checksum=None)
        return super().sign(operation, ttl=ttl, now=now)


class SaysItSendsAnyDigest(SignsAnyDigest):
    def __init__(self, good: Provider) -> None:
        super().__init__(good)
        # All of them: a digest that is neither bound nor sent would break the clause in another way.
        every = frozenset({"crc32", "crc32c", "crc64nvme", "md5", "sha1"})
        self.capabilities = replace(good.capabilities, sends_checksum=every)


class RefusesWithAnotherError(Wrapper):
    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        try:
            return super().sign(operation, ttl=ttl, now=now)
        except UnsupportedOperation:
            raise ValueError("no") from None


class SignsImpostors(Wrapper):
    def sign(self, operation: Any, *, ttl: timedelta, now: datetime) -> Any:
        if not isinstance(operation, Download | Upload | UploadForm | UploadPart):
            operation = Download(operation.key)
        return super().sign(operation, ttl=ttl, now=now)


class Counts(Wrapper):
    """Adds a number of its own to each link: random, or the time, would do the same."""

    def __init__(self, good: Provider) -> None:
        super().__init__(good)
        self.counter = itertools.count()

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        signed = super().sign(operation, ttl=ttl, now=now)
        if isinstance(operation, UploadForm):
            return replace(signed, fields={**signed.fields, "x-ignore": str(next(self.counter))})
        return replace(signed, url=f"{signed.url}&x-nonce={next(self.counter)}")


def signature_ignores(
    change: Callable[[Any], Any], *, ttl: timedelta | None = None, now: datetime | None = None
) -> type[Wrapper]:
    """Make a provider whose downloads look as asked for, but whose signature is that of another one."""
    other_ttl, other_now = ttl, now

    class Ignores(Wrapper):
        def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
            asked = super().sign(operation, ttl=ttl, now=now)
            if not isinstance(operation, Download):
                return asked
            other = super().sign(change(operation), ttl=other_ttl or ttl, now=other_now or now)
            return replace(asked, url=asked.url[:-64] + other.url[-64:])

    return Ignores


class DropsTheLast(Wrapper):
    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return super().sign_many(operations[:-1], ttl=ttl, now=now)


class Reorders(Wrapper):
    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return super().sign_many(operations, ttl=ttl, now=now)[::-1]


class AnswersOneByOne(Wrapper):
    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return iter(super().sign_many(operations, ttl=ttl, now=now))


class NeedsOne(Wrapper):
    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return super().sign_many(operations, ttl=ttl, now=now) or None


class SignsManyForLonger(Wrapper):
    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> Any:
        return super().sign_many(operations, ttl=ttl * 2, now=now)


def lenient(change: Callable[[Any], Any]) -> type[Wrapper]:
    """Make a provider that makes something of every ttl."""

    class Lenient(Wrapper):
        def sign(self, operation: Operation, *, ttl: Any, now: datetime) -> Any:
            return super().sign(operation, ttl=change(ttl), now=now)

    return Lenient


def clamp(ttl: Any) -> Any:
    if not isinstance(ttl, timedelta):
        return ttl
    return min(max(ttl, timedelta(seconds=1)), timedelta(days=7)) if not ttl.microseconds else ttl


def accept_zero(ttl: Any) -> Any:
    return timedelta(seconds=1) if ttl == timedelta(0) else ttl


def accept_negative(ttl: Any) -> Any:
    return abs(ttl) if ttl == timedelta(seconds=-1) else ttl


def accept_endless(ttl: Any) -> Any:
    return timedelta(days=7) if ttl == timedelta.max else ttl


def accept_longer(ttl: Any) -> Any:
    return timedelta(days=7) if ttl == timedelta(days=7, seconds=1) else ttl


def round_up(ttl: Any) -> Any:
    return timedelta(seconds=2) if ttl == timedelta(milliseconds=1500) else ttl


def accept_seconds(kind: Any) -> Callable[[Any], Any]:
    def change(ttl: Any) -> Any:
        return timedelta(seconds=float(ttl)) if type(ttl) is kind else ttl

    return change


def accept_none(ttl: Any) -> Any:
    return timedelta(seconds=300) if ttl is None else ttl


def accept_instants(accepted: Callable[[Any], bool], change: Callable[[Any], datetime]) -> type[Wrapper]:
    """Make a provider that makes something of an instant without a zone."""

    class Accepts(Wrapper):
        def sign(self, operation: Operation, *, ttl: timedelta, now: Any) -> Any:
            return super().sign(operation, ttl=ttl, now=change(now) if accepted(now) else now)

    return Accepts


class ShowsTheLink(Wrapper):
    """Its repr shows what it signed last."""

    last = ""

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        signed = super().sign(operation, ttl=ttl, now=now)
        self.last = signed.url
        return signed

    def __repr__(self) -> str:
        return f"<ShowsTheLink {self.last}>"


class ShowsTheForm(Wrapper):
    """Its str shows the policy that it signed last."""

    last = ""

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        signed = super().sign(operation, ttl=ttl, now=now)
        self.last = signed.fields.get("policy", "")
        return signed

    def __repr__(self) -> str:
        return "<ShowsTheForm>"

    def __str__(self) -> str:
        return f"<ShowsTheForm {self.last}>"


class Chatty(SignedURL):
    """A link that shows itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self.url

    __str__ = __repr__


class AsksTheNetwork(Wrapper):
    """Opens one connection before it signs, as a credential would that has to be refreshed."""

    address: Any = ("127.0.0.1", 9)
    asked = False

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> Any:
        if not self.asked:
            with socket.socket() as connection:
                connection.connect(self.address)
            self.asked = True
        return super().sign(operation, ttl=ttl, now=now)


def unsigned(signed: SignedURL) -> SignedURL:
    """Cut the query off, as a client configured without credentials would."""
    return signed if signed.fields else replace(signed, url=signed.url.partition("?")[0])


def unsigned_but_parametrised(signed: SignedURL) -> SignedURL:
    return signed if signed.fields else replace(signed, url=re.sub("&[^&]*ignature=[^&]*$", "", signed.url))


def empty_signature(signed: SignedURL) -> SignedURL:
    return signed if signed.fields else replace(signed, url=re.sub("(ignature=)[^&]*$", r"\1", signed.url))


def bound(**changes: Any) -> Callable[[Any], Any]:
    """Replace fields of downloads that have all of them, so that earlier clauses see no difference."""

    def change(operation: Any) -> Any:
        if isinstance(operation, Download) and operation.version:
            return replace(operation, **changes)
        return operation

    return change


SHIFT = timedelta(seconds=1)

# id -> the good provider, what is done to it, the clause that must fail
BROKEN: dict[str, tuple[str, Callable[[Provider], Any], str]] = {
    "has-no-sign": ("s3-virtual", lambda good: NotAProvider(), "is_a_provider"),
    "is-nothing-at-all": ("s3-virtual", lambda good: object(), "is_a_provider"),
    "lives-eight-days": ("s3-virtual", MaxTTL, "is_a_provider"),
    "lives-no-time": ("s3-virtual", NoTTL, "is_a_provider"),
    "wrong-key": ("s3-virtual", asks(only(Download, key="other")), "names_one_object"),
    "normalises-the-key": ("s3-virtual", asks(lower_case_key), "names_one_object"),
    "wrong-key-of-an-upload": ("s3-path", asks(only(Upload, key="other")), "names_one_object"),
    "wrong-key-of-a-part": ("s3-path", asks(only(UploadPart, key="other")), "names_one_object"),
    "wrong-key-in-a-form": ("s3-virtual", asks(only(UploadForm, key="other")), "names_one_object"),
    "unsigned": ("s3-virtual", answers(unsigned), "names_one_object"),
    "unsigned-with-parameters": ("s3-virtual", answers(unsigned_but_parametrised), "names_one_object"),
    "empty-signature": ("local", answers(empty_signature), "names_one_object"),
    "fragment": ("local", answers(lambda s: replace(s, url=s.url + "#a")), "names_one_object"),
    "other-host": (
        "s3-virtual",
        answers(lambda s: replace(s, url=s.url.replace("amazonaws.com", "evil.example"))),
        "names_one_object",
    ),
    "other-scheme": (
        "s3-virtual",
        answers(lambda s: replace(s, url=s.url.replace("https:", "http:"))),
        "names_one_object",
    ),
    "credentials-in-the-host": (
        "s3-virtual",
        answers(lambda s: replace(s, url=s.url.replace("https://", "https://me@"))),
        "names_one_object",
    ),
    "other-bucket": (
        "s3-path",
        answers(lambda s: replace(s, url=s.url.replace(BUCKET, "other-bucket"))),
        "names_one_object",
    ),
    "decoded-path": (
        "s3-virtual",
        answers(lambda s: replace(s, url=s.url.replace("%20", " "))),
        "names_one_object",
    ),
    "wrong-method": ("s3-virtual", asks(only(Download, method="GET")), "method_is_what_was_asked"),
    "wrong-word-for-the-method": (
        "s3-virtual",
        answers(lambda s: replace(s, method=s.method.lower())),
        "method_is_what_was_asked",
    ),
    "post-for-an-upload": (
        "local",
        answers(lambda s: replace(s, method="POST" if s.method == "PUT" else s.method)),
        "method_is_what_was_asked",
    ),
    "end-is-a-lie": (
        "s3-virtual",
        answers(lambda s: replace(s, expires_at=s.expires_at + SHIFT)),
        "tells_the_true_end",
    ),
    "end-is-naive": (
        "s3-virtual",
        answers(lambda s: replace(s, expires_at=s.expires_at.replace(tzinfo=None))),
        "tells_the_true_end",
    ),
    "end-is-not-utc": (
        "local",
        answers(lambda s: replace(s, expires_at=s.expires_at.astimezone(timezone(timedelta(hours=1))))),
        "tells_the_true_end",
    ),
    "end-is-constant": (
        "local",
        answers(lambda s: replace(s, expires_at=NOW)),
        "tells_the_true_end",
    ),
    "lives-at-least-five-minutes": (
        "s3-virtual",
        lenient(lambda ttl: max(ttl, timedelta(seconds=299)) if isinstance(ttl, timedelta) else ttl),
        "tells_the_true_end",
    ),
    "not-the-same-twice": ("s3-virtual", Counts, "is_deterministic"),
    "not-the-same-twice-locally": ("local", Counts, "is_deterministic"),
    "ignores-the-file-name": ("s3-virtual", asks(bound(filename="n.txt")), "binds_every_field"),
    "ignores-the-disposition": ("s3-virtual", asks(bound(disposition="inline")), "binds_every_field"),
    "ignores-the-type": ("local", asks(bound(content_type=None)), "binds_every_field"),
    "ignores-the-cache-control": ("s3-virtual", asks(bound(cache_control=None)), "binds_every_field"),
    "drops-a-cache-control-it-cannot-sign": ("local", asks(bound(cache_control=None)), "binds_every_field"),
    "ignores-the-version": ("s3-virtual", asks(bound(version="1")), "binds_every_field"),
    "ignores-the-version-locally": ("local", asks(bound(version="1")), "binds_every_field"),
    "signature-ignores-the-key": ("local", signature_ignores(only(Download, key="k")), "binds_every_field"),
    "signature-ignores-the-method": (
        "s3-virtual",
        signature_ignores(only(Download, method="GET")),
        "binds_every_field",
    ),
    "signature-ignores-the-lifetime": (
        "s3-virtual",
        signature_ignores(only(Download), ttl=timedelta(seconds=1)),
        "binds_every_field",
    ),
    "signature-ignores-the-instant": ("local", signature_ignores(only(Download), now=NOW), "binds_every_field"),
    "signature-is-constant": (
        "local",
        answers(lambda s: replace(s, url=re.sub("signature=.*", "signature=" + "0" * 64, s.url))),
        "binds_every_field",
    ),
    "ignores-the-size": ("s3-virtual", asks(only(Upload, size_bytes=0)), "binds_uploads_as_it_says"),
    "ignores-the-size-locally": ("local", asks(only(Upload, size_bytes=0)), "binds_uploads_as_it_says"),
    "ignores-the-type-of-an-upload": (
        "s3-virtual",
        asks(only(Upload, content_type="image/png")),
        "binds_uploads_as_it_says",
    ),
    "ignores-overwrite": ("s3-virtual", asks(only(Upload, overwrite=True)), "binds_uploads_as_it_says"),
    "ignores-overwrite-locally": ("local", asks(only(Upload, overwrite=False)), "binds_uploads_as_it_says"),
    "ignores-checksums": ("s3-virtual", asks(only(Upload, checksum=None)), "binds_uploads_as_it_says"),
    **{
        f"ignores-{algorithm}": ("s3-virtual", asks(without_checksum(algorithm)), "binds_uploads_as_it_says")
        for algorithm in ("crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256")
    },
    "one-checksum-for-all": ("local", asks(constant_checksum), "binds_uploads_as_it_says"),
    "drops-a-digest-it-cannot-bind": ("local", SignsAnyDigest, "binds_uploads_as_it_says"),
    "sends-no-digest-it-says-it-sends": ("local", SaysItSendsAnyDigest, "binds_uploads_as_it_says"),
    "ignores-the-part": ("s3-virtual", asks(only(UploadPart, number=1)), "binds_parts_as_it_says"),
    "ignores-the-upload": ("s3-path", asks(only(UploadPart, upload_id="id")), "binds_parts_as_it_says"),
    "signs-what-it-does-not-support": ("local", SignsForms, "refuses_what_it_cannot_sign"),
    "signs-what-is-no-operation": ("s3-virtual", SignsImpostors, "refuses_what_it_cannot_sign"),
    "drops-the-last-of-many": ("s3-virtual", DropsTheLast, "signs_many_as_one"),
    "reorders-many": ("local", Reorders, "signs_many_as_one"),
    "answers-one-by-one": ("local", AnswersOneByOne, "signs_many_as_one"),
    "needs-at-least-one": ("s3-virtual", NeedsOne, "signs_many_as_one"),
    "signs-many-for-longer": ("s3-virtual", SignsManyForLonger, "signs_many_as_one"),
    "clamps-every-ttl": ("s3-virtual", lenient(clamp), "bounds_the_ttl"),
    "accepts-no-time": ("s3-virtual", lenient(accept_zero), "bounds_the_ttl"),
    "accepts-less-than-no-time": ("s3-virtual", lenient(accept_negative), "bounds_the_ttl"),
    "accepts-all-time": ("local", lenient(accept_endless), "bounds_the_ttl"),
    "accepts-too-long": ("local", lenient(accept_longer), "bounds_the_ttl"),
    "accepts-half-a-second": ("local", lenient(round_up), "bounds_the_ttl"),
    "accepts-an-int": ("s3-virtual", lenient(accept_seconds(int)), "bounds_the_ttl"),
    "accepts-a-float": ("s3-virtual", lenient(accept_seconds(float)), "bounds_the_ttl"),
    "accepts-a-bool": ("local", lenient(accept_seconds(bool)), "bounds_the_ttl"),
    "accepts-text": ("local", lenient(accept_seconds(str)), "bounds_the_ttl"),
    "accepts-none": ("s3-virtual", lenient(accept_none), "bounds_the_ttl"),
    "refuses-a-ttl-with-another-error": (
        "s3-virtual",
        lenient(lambda ttl: ttl if isinstance(ttl, timedelta) else timedelta(seconds=0)),
        "bounds_the_ttl",
    ),
    "accepts-a-naive-instant": (
        "s3-virtual",
        accept_instants(
            lambda now: isinstance(now, datetime) and now.tzinfo is None, lambda now: now.replace(tzinfo=UTC)
        ),
        "needs_an_aware_instant",
    ),
    "accepts-a-timestamp": (
        "local",
        accept_instants(lambda now: isinstance(now, float), lambda now: datetime.fromtimestamp(now, UTC)),
        "needs_an_aware_instant",
    ),
    "looks-at-a-clock-of-its-own": (
        "s3-virtual",
        accept_instants(lambda now: now is None, lambda now: datetime.now(UTC)),
        "needs_an_aware_instant",
    ),
    "provider-shows-a-signature": ("s3-virtual", ShowsTheLink, "shows_no_signature"),
    "provider-shows-a-policy": ("s3-virtual", ShowsTheForm, "shows_no_signature"),
    "link-shows-itself": (
        "local",
        answers(
            lambda s: Chatty(url=s.url, method=s.method, expires_at=s.expires_at, headers=s.headers, fields=s.fields)
        ),
        "shows_no_signature",
    ),
    "opens-a-connection": ("s3-virtual", AsksTheNetwork, "offline"),
}


@pytest.mark.parametrize(("good", "break_it", "clause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_provider_fails_the_clause_it_breaks(
    good: str, break_it: Callable[[Provider], Any], clause: str
) -> None:
    with pytest.raises(ContractBroken) as broken:
        check_provider(break_it(GOOD[good]))
    assert broken.value.clause == clause
    assert str(broken.value).startswith(f"{clause}: ")


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_a_wrapper_that_changes_nothing_keeps_the_contract(good: Provider) -> None:
    check_provider(Wrapper(good))
    check_provider(asks(lambda operation: operation)(good))
    check_provider(answers(lambda signed: signed)(good))
    check_provider(lenient(lambda ttl: ttl)(good))


def test_every_clause_is_broken_by_a_row() -> None:
    clauses = {clause.__name__.removeprefix("_") for clause in contract._CLAUSES}
    assert {clause for _, _, clause in BROKEN.values()} == clauses | {"offline"}


def test_every_clause_names_itself() -> None:
    source = {clause.__name__: clause.__code__.co_consts for clause in contract._CLAUSES}
    for name, constants in source.items():
        assert name.removeprefix("_") in constants


def test_every_clause_of_the_module_is_run() -> None:
    defined = {
        name
        for name, value in vars(contract).items()
        if callable(value)
        and getattr(value, "__annotations__", {}).get("provider") == "Provider"
        and list(value.__annotations__) == ["provider", "now", "return"]
    }
    assert defined - {"check_provider"} == {clause.__name__ for clause in contract._CLAUSES}


def test_refusing_with_another_error_is_no_refusal() -> None:
    with pytest.raises(ContractBroken, match="ValueError where UnsupportedOperation is due") as broken:
        check_provider(RefusesWithAnotherError(GOOD["local"]))
    assert broken.value.clause == "binds_every_field"


def test_the_network_is_given_back() -> None:
    before = socket.socket.connect
    check_provider(GOOD["s3-virtual"])
    assert socket.socket.connect is before
    with pytest.raises(ContractBroken):
        check_provider(AsksTheNetwork(GOOD["s3-virtual"]))
    assert socket.socket.connect is before


def test_a_provider_that_says_it_asks_the_network_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        provider = AsksTheNetwork(GOOD["s3-virtual"])
        provider.address = server.getsockname()
        provider.capabilities = replace(provider.capabilities, offline=False)
        check_provider(provider)
        assert provider.asked


def test_capabilities_decide_what_is_asked() -> None:
    """A store that binds less is held to less, and is refused nothing that it does not promise."""

    class Modest(Wrapper):
        def __init__(self, good: Provider) -> None:
            super().__init__(good)
            self.capabilities = replace(
                good.capabilities,
                operations=frozenset({Download, Upload}),
                binds_size=False,
                binds_content_type=False,
                binds_no_overwrite=False,
                binds_checksum=frozenset(),
            )

        def sign(self, operation: Any, *, ttl: timedelta, now: datetime) -> Any:
            if isinstance(operation, UploadForm | UploadPart):
                raise UnsupportedOperation("downloads and uploads only")
            if isinstance(operation, Upload):
                if operation.checksum is not None:
                    raise UnsupportedOperation("no checksum")
                operation = Upload(operation.key, content_type="a/b", size_bytes=0, overwrite=True)
            return super().sign(operation, ttl=ttl, now=now)

    check_provider(Modest(GOOD["s3-virtual"]))
    assert isinstance(Modest(GOOD["s3-virtual"]).capabilities, Capabilities)

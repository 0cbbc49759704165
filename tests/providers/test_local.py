"""Links of the local data plane: believed only as they were signed, for as long as they were signed."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers import (
    Checksum,
    CredentialsExpired,
    Download,
    InvalidConfiguration,
    InvalidTTL,
    LinkRefused,
    LocalProvider,
    SecretKey,
    SignedURL,
    UnsupportedOperation,
    Upload,
    UploadForm,
    UploadPart,
    VerifiedLink,
    clean_filename,
    local,
)
from tests.providers import examples
from tests.providers.examples import NOW, TTL

SECRET = b"first secret of the ring, 32 bytes at least"
OTHER = b"another secret of the ring, long enough too"
BASE_URL = "/files/"


def provider(*secret_keys: SecretKey, base_url: str = BASE_URL) -> LocalProvider:
    return LocalProvider(base_url=base_url, secret_keys=secret_keys or [SecretKey(SECRET)])


def follow(
    signed: SignedURL,
    *,
    by: LocalProvider | None = None,
    now: datetime = NOW,
    method: str | None = None,
    url: str | None = None,
) -> VerifiedLink:
    """Verify a link as a data plane does: the key is what follows its own path, decoded once."""
    by = by or provider()
    parts = urlsplit(signed.url if url is None else url)
    path = urlsplit(by.base_url).path
    if not parts.path.startswith(path):
        raise LinkRefused("no route leads here")
    try:
        key = unquote_to_bytes(parts.path.removeprefix(path)).decode()
    except UnicodeError:
        raise LinkRefused("no route leads here") from None
    return by.verify(method=signed.method if method is None else method, key=key, query=parts.query, now=now)


DOWNLOAD = Download("a/b-c_d.txt", filename="report 1.pdf", content_type="application/pdf", link_id="l1")
UPLOAD = Upload("up/new.bin", content_type="image/png", size_bytes=7, checksum=Checksum("sha256", bytes(32)))
PART = UploadPart("up/new.bin", upload_id="0f+/=", number=3, size_bytes=7, checksum=Checksum("sha256", bytes(32)))
LINKS: dict[str, Download | Upload | UploadPart] = {
    "bare-download": Download("a"),
    "head": replace(DOWNLOAD, method="HEAD"),
    "download-with-everything": replace(DOWNLOAD, disposition="inline", version="v+/=%&"),
    "upload": UPLOAD,
    "upload-without-checksum": replace(UPLOAD, checksum=None, overwrite=True),
    "part": PART,
    "part-with-a-stamp": replace(PART, stamp="s1_a-b"),
    "part-without-checksum": replace(PART, checksum=None),
}

# --- what is signed is verified ----------------------------------------------------------------------------


@given(
    st.one_of(examples.downloads, examples.uploads(checksum=examples.sha256s)),
    st.integers(1, 604_800),
    st.sampled_from(["/", "/files/", "/a%20b/data/", "https://files.example/x/", "http://localhost:8000/"]),
)
@settings(max_examples=400, deadline=None)
def test_a_link_tells_the_operation_it_was_signed_for(
    operation: Download | Upload, seconds: int, base_url: str
) -> None:
    built = provider(base_url=base_url)
    signed = built.sign(operation, ttl=timedelta(seconds=seconds), now=NOW)
    assert signed.url.startswith(base_url + quote(operation.key, safe="/~") + "?")
    assert signed.method == (operation.method if isinstance(operation, Download) else "PUT")

    verified = follow(signed, by=built)
    assert verified.expires_at == signed.expires_at == NOW + timedelta(seconds=seconds)
    if isinstance(operation, Download) and operation.filename is not None:
        operation = replace(operation, filename=clean_filename(operation.filename))
    assert verified.operation == operation

    last = signed.expires_at - timedelta(microseconds=1)
    assert follow(signed, by=built, now=last) == verified
    for late in (timedelta(0), timedelta(seconds=1), timedelta(days=365)):
        with pytest.raises(LinkRefused) as refusal:
            follow(signed, by=built, now=signed.expires_at + late)
        assert refusal.value.reason == "expired"


@pytest.mark.parametrize(
    ("upload", "headers"),
    [
        pytest.param(
            UPLOAD,
            {
                "Content-Type": "image/png",
                "If-None-Match": "*",
                "Content-Digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
            },
            id="everything",
        ),
        pytest.param(
            replace(UPLOAD, checksum=None),
            {"Content-Type": "image/png", "If-None-Match": "*"},
            id="no-checksum",
        ),
        pytest.param(replace(UPLOAD, checksum=None, overwrite=True), {"Content-Type": "image/png"}, id="overwrite"),
    ],
)
def test_an_upload_tells_the_client_what_to_send(upload: Upload, headers: Mapping[str, str]) -> None:
    assert provider().sign(upload, ttl=TTL, now=NOW).headers == headers


def test_a_part_tells_the_client_its_digest_and_no_type() -> None:
    digest = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
    assert provider().sign(PART, ttl=TTL, now=NOW).headers == {"Content-Digest": digest}
    assert provider().sign(replace(PART, checksum=None), ttl=TTL, now=NOW).headers == {}


@pytest.mark.parametrize("name", ["part", "part-without-checksum"])
def test_a_part_is_verified_as_the_part_it_was_signed_for(name: str) -> None:
    signed = provider().sign(LINKS[name], ttl=TTL, now=NOW)
    assert (signed.method, follow(signed).operation) == ("PUT", LINKS[name])


def test_a_download_needs_no_header_and_no_field() -> None:
    signed = provider().sign(DOWNLOAD, ttl=TTL, now=NOW)
    assert signed.headers == {}
    assert signed.fields == {}


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(UploadForm("a", content_type="image/png", min_bytes=0, max_bytes=1), id="form"),
        *(
            pytest.param(replace(UPLOAD, checksum=Checksum(name, bytes(size))), id=name)  # type: ignore[arg-type]
            for name, size in examples.DIGEST_BYTES.items()
            if name != "sha256"
        ),
    ],
)
def test_what_cannot_be_bound_is_not_signed(operation: Any) -> None:
    with pytest.raises(UnsupportedOperation):
        provider().sign(operation, ttl=TTL, now=NOW)
    with pytest.raises(UnsupportedOperation):
        provider().sign_many([Download("a"), operation], ttl=TTL, now=NOW)


def test_what_is_no_operation_is_not_signed() -> None:
    class Delete:
        key = "a"
        method = "DELETE"

    for impostor in (Delete(), None, "a"):
        with pytest.raises(AssertionError):
            provider().sign(impostor, ttl=TTL, now=NOW)  # type: ignore[arg-type]


def test_signing_many_is_signing_each() -> None:
    operations = list(LINKS.values())
    each = [provider().sign(operation, ttl=TTL, now=NOW) for operation in operations]
    assert provider().sign_many(operations, ttl=TTL, now=NOW) == each


def test_the_instant_is_cut_to_the_second_and_told_in_utc() -> None:
    there = NOW.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=14)))
    signed = provider().sign(DOWNLOAD, ttl=TTL, now=there)
    assert signed == provider().sign(DOWNLOAD, ttl=TTL, now=NOW)
    assert signed.expires_at == NOW + TTL
    assert signed.expires_at.tzinfo is UTC
    assert follow(signed, now=there)


@pytest.mark.parametrize("seconds", [0, -1, 604_801], ids=str)
def test_lifetimes_out_of_bounds(seconds: int) -> None:
    with pytest.raises(InvalidTTL, match=f"ttl is {seconds} s; at least 1 s and at most 604800 s"):
        provider().sign(DOWNLOAD, ttl=timedelta(seconds=seconds), now=NOW)


# --- T39-T42: nothing else is believed ---------------------------------------------------------------------


@pytest.mark.parametrize("operation", LINKS.values(), ids=LINKS)
def test_no_one_bit_mutant_of_a_link_is_accepted(operation: Download | Upload | UploadPart) -> None:
    signed = provider().sign(operation, ttl=TTL, now=NOW)
    assert follow(signed).operation
    tried = 0
    for at in range(len(signed.url)):
        for bit in range(8):
            mutant = signed.url[:at] + chr(ord(signed.url[at]) ^ 1 << bit) + signed.url[at + 1 :]
            with pytest.raises(LinkRefused):
                follow(signed, url=mutant)
            tried += 1
    assert tried == 8 * len(signed.url)


def test_of_an_encoded_key_only_the_case_of_a_hexadecimal_digit_is_free() -> None:
    signed = provider().sign(Download("ü b.txt"), ttl=TTL, now=NOW)
    path = signed.url.partition("?")[0]
    accepted = []
    for at, bit in itertools.product(range(len(path)), range(8)):
        mutant = path[:at] + chr(ord(path[at]) ^ 1 << bit) + signed.url[at + 1 :]
        try:
            verified = follow(signed, url=mutant)
        except LinkRefused:
            continue
        assert verified.operation.key == "ü b.txt"
        accepted.append(mutant.partition("?")[0])
    assert accepted == ["/files/%c3%BC%20b.txt", "/files/%C3%bC%20b.txt", "/files/%C3%Bc%20b.txt"]


@pytest.mark.parametrize("operation", LINKS.values(), ids=LINKS)
def test_parameters_cannot_be_dropped_doubled_reordered_or_added(operation: Download | Upload | UploadPart) -> None:
    signed = provider().sign(operation, ttl=TTL, now=NOW)
    base, _, query = signed.url.partition("?")
    pairs = query.split("&")
    mutants = [pairs[:i] + pairs[i + 1 :] for i in range(len(pairs))]
    mutants += [[*pairs[:i], pairs[i], *pairs[i:]] for i in range(len(pairs))]
    mutants += [[*pairs, pair] for pair in pairs]
    mutants += [list(order) for order in itertools.islice(itertools.permutations(pairs), 1, 200)]
    mutants += [[*pairs[:-1], extra, pairs[-1]] for extra in ("version=2", "expires=9999999999", "x=y", "")]
    mutants += [[*pairs, extra] for extra in ("version=2", "expires=9999999999", "x=y", "")]
    for mutant in mutants:
        with pytest.raises(LinkRefused):
            follow(signed, url=f"{base}?{'&'.join(mutant)}")
    for query_string in (
        "",
        "&",
        query.upper(),
        query + "&",
        "&" + query,
        query.replace("&", ";"),
        query + "#",
    ):
        with pytest.raises(LinkRefused):
            provider().verify(method=signed.method, key=operation.key, query=query_string, now=NOW)


def test_one_part_of_a_link_cannot_become_another() -> None:
    """Neither the border of path and query, nor that of two parameters, can be moved."""
    signed = provider().sign(Download("a", version="1", link_id="x"), ttl=TTL, now=NOW)
    query = urlsplit(signed.url).query
    for key, moved in (
        ("a?", query),
        (f"a\n{query.partition('&')[0]}", query.partition("&")[2]),
        ("a", query.replace("&version=1", "%26version=1")),
        ("a", query.replace("link=x&version=1", "link=x%26version=1")),
        ("a\nexpires=9999999999", query),
        ("../files/a", query),
        ("/a", query),
        ("a/", query),
        ("A", query),
    ):
        with pytest.raises(LinkRefused):
            provider().verify(method="GET", key=key, query=moved, now=NOW)


SIGNED = provider().sign(DOWNLOAD, ttl=TTL, now=NOW)
SIGNED_QUERY, _, GOOD_SIGNATURE = urlsplit(SIGNED.url).query.rpartition("&signature=")
SIGNED_TEXT = f"GET\n/files/\na/b-c_d.txt\n{SIGNED_QUERY}".encode()
# id -> signature as sent
SIGNATURES: dict[str, str] = {
    "empty": "",
    "one-short": GOOD_SIGNATURE[:-1],
    "one-long": GOOD_SIGNATURE + "0",
    "ten-kilobytes": "0" * 10_000,
    "upper-case": GOOD_SIGNATURE.upper(),
    "not-ascii": "é" * 64,
    "one-not-ascii": GOOD_SIGNATURE[:-1] + "é",
    "not-ascii-after": GOOD_SIGNATURE + "é",
    "not-ascii-before": "é" + GOOD_SIGNATURE,
    "full-width-digits": GOOD_SIGNATURE.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}),
    "lone-surrogate": "\ud800" * 64,
    "line-feed-after": GOOD_SIGNATURE + "\n",
    "line-feed-inside": GOOD_SIGNATURE[:32] + "\n" + GOOD_SIGNATURE[32:],
    "space-before": " " + GOOD_SIGNATURE,
    "exclamation-mark-inside": GOOD_SIGNATURE[:32] + "!" + GOOD_SIGNATURE[32:],
    "percent-encoded": "".join(f"%{ord(digit):02X}" for digit in GOOD_SIGNATURE),
    "with-prefix": "0x" + GOOD_SIGNATURE[2:],
    "zeros": "0" * 64,
    "reversed": GOOD_SIGNATURE[::-1],
    "hash-without-key": hashlib.sha256(SIGNED_TEXT).hexdigest(),
    "empty-key": hmac.digest(b"", SIGNED_TEXT, "sha256").hex(),
    "the-secret-itself-as-key": hmac.digest(SECRET, SIGNED_TEXT, "sha256").hex(),
    "none": "None",
    "nul": "\x00" * 64,
}


def verify_signed_query(signature: str, query: str = SIGNED_QUERY) -> VerifiedLink:
    return provider().verify(method="GET", key=DOWNLOAD.key, query=f"{query}&signature={signature}", now=NOW)


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES)
def test_a_signature_of_another_shape_or_making_is_refused(signature: str) -> None:
    assert verify_signed_query(GOOD_SIGNATURE).operation == DOWNLOAD
    with pytest.raises(LinkRefused):
        verify_signed_query(signature)


def test_every_other_last_character_is_refused() -> None:
    for code in range(0x180):
        if chr(code) != GOOD_SIGNATURE[-1]:
            with pytest.raises(LinkRefused):
                verify_signed_query(GOOD_SIGNATURE[:-1] + chr(code))


def texts(size: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(), max_size=size)  # lone surrogates too, which text() alone leaves out


@given(
    st.one_of(st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "get"]), texts(8)),
    st.one_of(st.just(DOWNLOAD.key), texts(20), examples.keys),
    st.one_of(
        texts(80),
        texts(40).map(lambda text: f"{text}&signature={GOOD_SIGNATURE}"),
        texts(64).map(lambda text: f"{SIGNED_QUERY}&signature={text}"),
        st.just(f"{SIGNED_QUERY}&signature={GOOD_SIGNATURE}"),
    ),
)
@settings(max_examples=500, deadline=None)
@example("GET", "\ud800", f"{SIGNED_QUERY}&signature={GOOD_SIGNATURE}")
@example("GET", DOWNLOAD.key, f"{SIGNED_QUERY}&signature={GOOD_SIGNATURE}é")
@example("\ud800", "\ud800", "\ud800")
def test_arbitrary_text_is_refused_and_never_an_error(method: str, key: str, query: str) -> None:
    try:
        verified = provider().verify(method=method, key=key, query=query, now=NOW)
    except LinkRefused:
        return
    assert (method, key, query) == ("GET", DOWNLOAD.key, f"{SIGNED_QUERY}&signature={GOOD_SIGNATURE}")
    assert verified.operation == DOWNLOAD


# --- T16: one method, one purpose, one place, one key -------------------------------------------------------

METHODS = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "get", "GET ", ""]


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(
    "operation",
    [Download("a"), Download("a", method="HEAD"), replace(UPLOAD, key="a")],
    ids=["GET-link", "HEAD-link", "PUT-link"],
)
def test_only_the_diagonal_of_links_and_methods_is_accepted(operation: Download | Upload, method: str) -> None:
    signed = provider().sign(operation, ttl=TTL, now=NOW)
    if method == signed.method:
        assert follow(signed, method=method).operation == operation
    else:
        with pytest.raises(LinkRefused):
            follow(signed, method=method)


def test_reading_and_writing_are_signed_with_different_keys() -> None:
    mac = {purpose: local._derive(SECRET, purpose) for purpose in (b"read", b"write")}
    assert mac[b"read"].digest(b"") != mac[b"write"].digest(b"")
    forged = local._sign(mac[b"read"], "PUT", "/files/", UPLOAD.key, signed_part(UPLOAD))
    with pytest.raises(LinkRefused) as refusal:
        provider().verify(method="PUT", key=UPLOAD.key, query=f"{signed_part(UPLOAD)}&signature={forged}", now=NOW)
    assert refusal.value.reason == "signature"


def signed_part(operation: Download | Upload) -> str:
    return urlsplit(provider().sign(operation, ttl=TTL, now=NOW).url).query.rpartition("&signature=")[0]


@pytest.mark.parametrize(
    "base_url",
    ["/other/", "/", "/files/a/", "/Files/", "/files/files/", "https://files.example/media/"],
)
def test_a_link_of_one_path_is_refused_at_another(base_url: str) -> None:
    other = provider(base_url=base_url)
    signed = provider().sign(DOWNLOAD, ttl=TTL, now=NOW)
    with pytest.raises(LinkRefused):
        other.verify(method="GET", key=DOWNLOAD.key, query=urlsplit(signed.url).query, now=NOW)
    with pytest.raises(LinkRefused):
        follow(other.sign(DOWNLOAD, ttl=TTL, now=NOW), by=provider())


def test_a_link_is_bound_to_the_path_and_not_to_the_host() -> None:
    """One service answers under several names; the secret is what tells services apart."""
    signed = provider(base_url="https://files.example/files/").sign(DOWNLOAD, ttl=TTL, now=NOW)
    assert follow(signed, by=provider(base_url="/files/")).operation == DOWNLOAD


def test_a_link_is_bound_to_its_key() -> None:
    signed = provider().sign(Download("t1/x"), ttl=TTL, now=NOW)
    for key in ("t1/y", "t1/x/", "t10/x", "t1", "", "t1/x\n", "t1%2Fx", "T1/x"):
        with pytest.raises(LinkRefused):
            provider().verify(method="GET", key=key, query=urlsplit(signed.url).query, now=NOW)


# --- T43: the ring -----------------------------------------------------------------------------------------


def test_another_secret_is_refused() -> None:
    signed = provider(SecretKey(OTHER)).sign(DOWNLOAD, ttl=TTL, now=NOW)
    with pytest.raises(LinkRefused) as refusal:
        follow(signed, by=provider(SecretKey(SECRET)))
    assert refusal.value.reason == "signature"


def test_the_first_key_signs_and_every_key_verifies() -> None:
    old, new = SecretKey(OTHER), SecretKey(SECRET)
    before, after = provider(old), provider(new, old)
    old_link, new_link = (each.sign(DOWNLOAD, ttl=TTL, now=NOW) for each in (before, after))
    assert old_link != new_link
    assert follow(old_link, by=after) == follow(new_link, by=after)
    assert follow(new_link, by=provider(new))
    with pytest.raises(LinkRefused):
        follow(new_link, by=before)
    with pytest.raises(LinkRefused):
        follow(old_link, by=provider(new))


def test_a_key_that_has_ended_verifies_nothing() -> None:
    end = NOW + timedelta(seconds=100)
    ring = provider(SecretKey(SECRET), SecretKey(OTHER, not_after=end))
    signed = provider(SecretKey(OTHER)).sign(DOWNLOAD, ttl=TTL, now=NOW)
    assert follow(signed, by=ring, now=end - timedelta(microseconds=1))
    for late in (timedelta(0), timedelta(seconds=1)):
        with pytest.raises(LinkRefused) as refusal:
            follow(signed, by=ring, now=end + late)
        assert refusal.value.reason == "signature"


def test_no_link_outlives_the_key_that_signed_it() -> None:
    end = NOW + timedelta(seconds=200)
    built = provider(SecretKey(SECRET, not_after=end))
    signed = built.sign(DOWNLOAD, ttl=TTL, now=NOW)
    assert signed.expires_at == end - timedelta(seconds=60)
    assert follow(signed, by=built).expires_at == signed.expires_at
    assert built.sign(DOWNLOAD, ttl=timedelta(seconds=100), now=NOW).expires_at == NOW + timedelta(seconds=100)


def test_a_key_that_ends_too_soon_signs_nothing_even_if_another_could() -> None:
    built = provider(SecretKey(SECRET, not_after=NOW + timedelta(seconds=60)), SecretKey(OTHER))
    with pytest.raises(CredentialsExpired, match="at least 61 s"):
        built.sign(DOWNLOAD, ttl=TTL, now=NOW)


def test_a_ring_of_ended_keys_refuses_even_what_they_sign_now() -> None:
    signed = provider(SecretKey(SECRET)).sign(DOWNLOAD, ttl=TTL, now=NOW)
    with pytest.raises(LinkRefused):
        follow(signed, by=provider(SecretKey(SECRET, not_after=NOW)))


# --- links that bear our MAC and are still no good ----------------------------------------------------------


def validly_signed(query: str, *, method: str = "GET", key: str = "a") -> dict[str, str]:
    """Sign whatever the caller says, as somebody would who has the secret or found a fault in the signer."""
    purpose = b"write" if method == "PUT" else b"read"
    mac = local._derive(SECRET, purpose)
    signature = local._sign(mac, method, BASE_URL, quote(key, safe="/~"), query)
    return {"method": method, "key": key, "query": f"{query}&signature={signature}"}


ISSUED = int(NOW.timestamp())
EXPIRES = ISSUED + 300
WINDOW = f"expires={EXPIRES}&issued={ISSUED}"
PUT = f"{WINDOW}&content-length=7&content-type=image%2Fpng&overwrite=no"
PARTS = f"{WINDOW}&content-length=7&part-number=3&upload=u1"
FULL_WIDTH = quote("".join(chr(ord(digit) + 0xFEE0) for digit in str(EXPIRES)))
ARABIC = quote("".join(chr(ord(digit) - 0x30 + 0x660) for digit in str(EXPIRES)))

# id -> the reason in the log, what was signed
BAD_INSIDE: dict[str, tuple[str, dict[str, str]]] = {
    "V15-plus-sign": ("malformed", validly_signed(f"expires=%2B{EXPIRES}&issued={ISSUED}")),
    "V15-bare-plus-sign": ("malformed", validly_signed(f"expires=+{EXPIRES}&issued={ISSUED}")),
    "V15-short-with-plus": ("malformed", validly_signed(f"expires=%2B60&issued={ISSUED}")),
    "V15-underscore": ("malformed", validly_signed(f"expires=1_000&issued={ISSUED}")),
    "V15-underscore-in-full": ("malformed", validly_signed(f"expires=2_000_000_000&issued={ISSUED}")),
    "V15-spaces": ("malformed", validly_signed(f"expires=%20{EXPIRES}%20&issued={ISSUED}")),
    "V15-line-feed": ("malformed", validly_signed(f"expires={EXPIRES}%0A&issued={ISSUED}")),
    "T42-full-width-digits": ("malformed", validly_signed(f"expires={FULL_WIDTH}&issued={ISSUED}")),
    "T42-arabic-digits": ("malformed", validly_signed(f"expires={ARABIC}&issued={ISSUED}")),
    "minus-sign": ("malformed", validly_signed(f"expires=-{EXPIRES}&issued={ISSUED}")),
    "exponent": ("malformed", validly_signed(f"expires=2e9&issued={ISSUED}")),
    "fraction": ("malformed", validly_signed(f"expires={EXPIRES}.0&issued={ISSUED}")),
    "hexadecimal": ("malformed", validly_signed(f"expires={EXPIRES:#x}&issued={ISSUED}")),
    "empty-end": ("malformed", validly_signed(f"expires=&issued={ISSUED}")),
    "not-a-number": ("malformed", validly_signed(f"expires=NaN&issued={ISSUED}")),
    "eleven-digits": ("malformed", validly_signed(f"expires={EXPIRES * 10}&issued={ISSUED}")),
    "V23-year-9999": ("malformed", validly_signed(f"expires=253402300799&issued={ISSUED}")),
    "no-end": ("malformed", validly_signed(f"issued={ISSUED}")),
    "no-issuing-time": ("malformed", validly_signed(f"expires={EXPIRES}")),
    "issuing-time-with-plus": ("malformed", validly_signed(f"expires={EXPIRES}&issued=%2B{ISSUED}")),
    "V22-ended-a-second-ago": ("expired", validly_signed(f"expires={ISSUED - 1}&issued={ISSUED - 301}")),
    "V22-ends-now": ("expired", validly_signed(f"expires={ISSUED}&issued={ISSUED - 300}")),
    "ended-before-it-began": ("expired", validly_signed(f"expires={ISSUED - 300}&issued={ISSUED}")),
    "V24-issued-in-ten-minutes": (
        "not of this time",
        validly_signed(f"expires={EXPIRES + 600}&issued={ISSUED + 600}"),
    ),
    "T44-issued-in-31-seconds": (
        "not of this time",
        validly_signed(f"expires={EXPIRES}&issued={ISSUED + 31}"),
    ),
    "lives-longer-than-a-week": (
        "not of this time",
        validly_signed(f"expires={ISSUED + 604_801}&issued={ISSUED}"),
    ),
    "V23-last-end-of-ten-digits": ("not of this time", validly_signed(f"expires=9999999999&issued={ISSUED}")),
    "T42-end-twice": ("duplicate parameter", validly_signed(f"{WINDOW}&expires={EXPIRES}")),
    "T42-another-end": ("duplicate parameter", validly_signed(f"{WINDOW}&expires={EXPIRES + 9}")),
    "T42-version-twice": ("duplicate parameter", validly_signed(f"{WINDOW}&version=1&version=2")),
    "unknown-parameter": ("unknown parameter", validly_signed(f"{WINDOW}&x=y")),
    "parameter-of-an-upload": ("unknown parameter", validly_signed(f"{WINDOW}&overwrite=yes")),
    "parameter-in-another-case": ("malformed", validly_signed(f"Expires={EXPIRES}&issued={ISSUED}")),
    "parameter-without-value": ("malformed", validly_signed(f"{WINDOW}&version")),
    "nameless-parameter": ("unknown parameter", validly_signed(f"{WINDOW}&=x")),
    "empty-parameter": ("malformed", validly_signed(f"{WINDOW}&")),
    "not-utf-8": ("malformed", validly_signed(f"{WINDOW}&version=%FF")),
    "not-utf-8-in-a-name": ("malformed", validly_signed(f"{WINDOW}&filename=%FF.txt")),
    "no-query": ("malformed", validly_signed("")),
    "line-feed-in-the-query": ("malformed", validly_signed(f"{WINDOW}\n")),
    "too-long": ("malformed", validly_signed(f"{WINDOW}&filename={'x' * 8192}")),
    "traversal": ("malformed", validly_signed(WINDOW, key="../../etc/passwd")),
    "traversal-inside": ("malformed", validly_signed(WINDOW, key="a/../../etc/passwd")),
    "absolute-key": ("malformed", validly_signed(WINDOW, key="/etc/passwd")),
    "empty-key": ("malformed", validly_signed(WINDOW, key="")),
    "directory": ("malformed", validly_signed(WINDOW, key="a/")),
    "key-with-nul": ("malformed", validly_signed(WINDOW, key="a\x00.txt")),
    "key-with-line-feed": ("malformed", validly_signed(WINDOW, key="a\nb")),
    "key-with-backslash": ("malformed", validly_signed(WINDOW, key="..\\a")),
    "key-not-composed": ("malformed", validly_signed(WINDOW, key="e\u0301")),
    "bad-disposition": ("malformed", validly_signed(f"{WINDOW}&disposition=form-data")),
    "bad-content-type": ("malformed", validly_signed(f"{WINDOW}&content-type=text")),
    "content-type-with-header": ("malformed", validly_signed(f"{WINDOW}&content-type=a%2Fb%0D%0AX%3A%20y")),
    "bad-version": ("malformed", validly_signed(f"{WINDOW}&version=a%20b")),
    "bad-link-id": ("malformed", validly_signed(f"{WINDOW}&link=%C3%A9")),
    "upload-of-nothing-known": ("malformed", validly_signed(WINDOW, method="PUT")),
    "upload-without-length": (
        "malformed",
        validly_signed(PUT.replace("content-length=7&", ""), method="PUT"),
    ),
    "upload-without-type": (
        "malformed",
        validly_signed(PUT.replace("content-type=image%2Fpng&", ""), method="PUT"),
    ),
    "upload-without-overwrite": ("malformed", validly_signed(PUT.replace("&overwrite=no", ""), method="PUT")),
    "upload-of-negative-length": ("malformed", validly_signed(PUT.replace("=7", "=-7"), method="PUT")),
    "upload-of-length-with-plus": ("malformed", validly_signed(PUT.replace("=7", "=%2B7"), method="PUT")),
    "upload-of-too-many-bytes": (
        "malformed",
        validly_signed(PUT.replace("=7", f"={5 * 2**30 + 1}"), method="PUT"),
    ),
    "upload-of-bad-type": ("malformed", validly_signed(PUT.replace("%2Fpng", ""), method="PUT")),
    "upload-with-other-word": ("malformed", validly_signed(PUT.replace("=no", "=true"), method="PUT")),
    "upload-with-word-in-upper-case": ("malformed", validly_signed(PUT.replace("=no", "=NO"), method="PUT")),
    "upload-with-short-digest": ("malformed", validly_signed(f"{PUT}&sha256={'0' * 62}", method="PUT")),
    "upload-with-long-digest": ("malformed", validly_signed(f"{PUT}&sha256={'0' * 66}", method="PUT")),
    "upload-with-digest-in-base64": (
        "malformed",
        validly_signed(f"{PUT}&sha256={'A' * 43}%3D", method="PUT"),
    ),
    "upload-with-spaces-in-the-digest": (
        "malformed",
        validly_signed(f"{PUT}&sha256={'%20'.join(['00'] * 32)}", method="PUT"),
    ),
    "upload-with-digest-in-upper-case": (
        "malformed",
        validly_signed(f"{PUT}&sha256={'AB' * 32}", method="PUT"),
    ),
    "upload-with-digest-twice": (
        "duplicate parameter",
        validly_signed(f"{PUT}&sha256={'0' * 64}&sha256={'1' * 64}", method="PUT"),
    ),
    "upload-with-parameter-of-a-download": (
        "unknown parameter",
        validly_signed(f"{PUT}&filename=a", method="PUT"),
    ),
    "upload-to-a-directory": ("malformed", validly_signed(PUT, method="PUT", key="a/")),
    "part-with-a-type": (
        "unknown parameter",
        validly_signed(f"{PARTS}&content-type=image%2Fpng", method="PUT"),
    ),
    "part-that-overwrites": ("unknown parameter", validly_signed(f"{PARTS}&overwrite=yes", method="PUT")),
    "part-without-number": ("malformed", validly_signed(PARTS.replace("&part-number=3", ""), method="PUT")),
    "part-zero": ("malformed", validly_signed(PARTS.replace("=3", "=0"), method="PUT")),
    "part-beyond-the-last": ("malformed", validly_signed(PARTS.replace("=3", "=10001"), method="PUT")),
    "part-of-no-upload": ("malformed", validly_signed(PARTS.replace("upload=u1", "upload="), method="PUT")),
    "part-of-nothing": ("malformed", validly_signed(PARTS.replace("=7", "=0"), method="PUT")),
    "part-to-be-read": ("unknown parameter", validly_signed(PARTS)),
}


def test_what_the_table_starts_from_is_accepted() -> None:
    assert provider().verify(**validly_signed(WINDOW), now=NOW).operation == Download("a")
    assert provider().verify(**validly_signed(PUT, method="PUT"), now=NOW).operation == Upload(
        "a", content_type="image/png", size_bytes=7
    )
    assert provider().verify(**validly_signed(PARTS, method="PUT"), now=NOW).operation == UploadPart(
        "a", upload_id="u1", number=3, size_bytes=7
    )
    digest = f"{PUT}&sha256={'ab' * 32}"
    checksum = Checksum("sha256", b"\xab" * 32)
    upload = provider().verify(**validly_signed(digest, method="PUT"), now=NOW).operation
    assert isinstance(upload, Upload)
    assert upload.checksum == checksum


@pytest.mark.parametrize(("reason", "link"), BAD_INSIDE.values(), ids=BAD_INSIDE)
def test_a_link_with_our_mac_is_read_as_strictly_as_any(reason: str, link: dict[str, str]) -> None:
    with pytest.raises(LinkRefused) as refusal:
        provider().verify(**link, now=NOW)
    assert refusal.value.reason.partition(":")[0] == reason


@pytest.mark.parametrize("seconds", [0, 1, 30], ids=str)
def test_a_server_whose_clock_is_half_a_minute_ahead_is_believed(seconds: int) -> None:
    link = validly_signed(f"expires={EXPIRES}&issued={ISSUED + seconds}")
    assert provider().verify(**link, now=NOW).expires_at == NOW + TTL


def test_after_the_clock_leaps_back_a_link_is_not_of_this_time() -> None:
    signed = provider().sign(DOWNLOAD, ttl=TTL, now=NOW)
    with pytest.raises(LinkRefused) as refusal:
        follow(signed, now=NOW - timedelta(hours=1))
    assert refusal.value.reason == "not of this time"


def test_the_mac_is_checked_before_anything_is_read() -> None:
    for _, link in BAD_INSIDE.values():
        query, separator, signature = link["query"].rpartition("&signature=")
        forged = signature[:-1] + ("0" if signature[-1] != "0" else "1")
        with pytest.raises(LinkRefused) as refusal:
            provider().verify(method=link["method"], key=link["key"], query=f"{query}{separator}{forged}", now=NOW)
        assert refusal.value.reason in ("signature", "malformed")


def test_no_refusal_holds_a_signature() -> None:
    for _, link in BAD_INSIDE.values():
        signature = link["query"].rpartition("=")[2]
        with pytest.raises(LinkRefused) as refusal:
            provider().verify(**link, now=NOW)
        assert signature not in f"{refusal.value} {refusal.value!r} {refusal.value.__cause__!r}"


# --- configuration -----------------------------------------------------------------------------------------

BAD_SECRETS: dict[str, tuple[Any, str]] = {
    "T17-empty": (b"", "a secret key is 0 bytes; at least 32 bytes"),
    "T17-none": (None, "a secret key is NoneType"),
    "T17-word": (b"changeme", "a secret key is 8 bytes"),
    "T17-31-bytes": (b"k" * 31, "a secret key is 31 bytes"),
    "text": ("k" * 64, "a secret key is str"),
    "bytearray": (bytearray(64), "a secret key is bytearray"),
}


@pytest.mark.parametrize(("secret", "piece"), BAD_SECRETS.values(), ids=BAD_SECRETS)
def test_a_weak_secret_is_refused(secret: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        SecretKey(secret)
    assert "changeme" not in str(refusal.value)
    assert "kkk" not in str(refusal.value)


def test_a_secret_of_32_bytes_is_enough() -> None:
    assert provider(SecretKey(bytes(32))).sign(DOWNLOAD, ttl=TTL, now=NOW)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(NOW.replace(tzinfo=None), id="naive"),
        pytest.param(NOW.timestamp(), id="number"),
        pytest.param("2026-03-04T05:06:07Z", id="text"),
    ],
)
def test_a_key_ends_at_an_aware_instant(end: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="an aware datetime"):
        SecretKey(SECRET, not_after=end)


def test_no_secret_is_shown() -> None:
    key = SecretKey(SECRET, not_after=NOW)
    shown = f"{key!r} {key} {[key]} {provider(key)!r} {provider(key)} {vars(provider(key))}"
    assert "first secret" not in shown
    assert "/files/" in shown


BAD_BASE_URLS: dict[str, Any] = {
    "empty": "",
    "no-slash-at-the-end": "/files",
    "no-slash-at-the-start": "files/",
    "host-without-path": "https://files.example",
    "query": "/files/?a=b",
    "query-before-a-slash": "/files?a=b/",
    "fragment": "/files/#a",
    "other-scheme": "ftp://files.example/x/",
    "script": "javascript:/x/",
    "host-without-scheme": "//files.example/x/",
    "no-host": "https:///x/",
    "doubled-slash": "/files//x/",
    "dot-segment": "/files/../x/",
    "single-dot-segment": "/./files/",
    "backslash": "/files\\/",
    "space": "/my files/",
    "line-feed-at-the-end": "/files/\n",
    "line-feed-inside": "/fi\nles/",
    "not-ascii": "/dätei/",
    "user-name": "https://someone@files.example/x/",
    "none": None,
    "bytes": b"/files/",
}


@pytest.mark.parametrize("base_url", BAD_BASE_URLS.values(), ids=BAD_BASE_URLS)
def test_a_base_url_that_clients_would_rewrite_is_refused(base_url: Any) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape("/path/ or http(s)://host/path/")):
        LocalProvider(base_url=base_url, secret_keys=[SecretKey(SECRET)])


@pytest.mark.parametrize(
    "base_url",
    [
        "/",
        "/files/",
        "/a/b/c/",
        "/a%20b/",
        "/~me/.files/..x/",
        "https://files.example/",
        "http://[::1]:8000/x/",
    ],
)
def test_a_base_url_that_reverse_can_give_is_accepted(base_url: str) -> None:
    built = provider(base_url=base_url)
    assert built.base_url == base_url
    assert follow(built.sign(DOWNLOAD, ttl=TTL, now=NOW), by=built).operation == DOWNLOAD


def test_a_ring_needs_a_key() -> None:
    with pytest.raises(InvalidConfiguration, match="at least one key"):
        LocalProvider(base_url="/files/", secret_keys=[])

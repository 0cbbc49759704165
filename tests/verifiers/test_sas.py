"""Prove that the verifier accepts what Microsoft publishes and its SDK signs, and refuses everything else.

It must not use the project's own signer: the verifier is judged first, and judges that one later.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from azure.storage.blob import UserDelegationKey, _shared_access_signature, generate_blob_sas
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.sas import REASONS, Account, DelegationKey, Refused, Verified, sign, verify_sas

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = base64.b64encode(b"k" * 64).decode()
DELEGATION = DelegationKey(
    oid="11111111-2222-3333-4444-555555555555",
    tid="66666666-7777-8888-9999-000000000000",
    start="2026-03-04T05:00:00Z",
    expiry="2026-03-05T05:00:00Z",
    service="b",
    version="2025-05-05",
    value=base64.b64encode(b"d" * 32).decode(),
)
HTTPS = "https://account.blob.core.windows.net"
ACCOUNT = Account("account", HTTPS, (KEY,), (DELEGATION,))
EMULATOR = replace(ACCOUNT, endpoint_url="http://127.0.0.1:10000/account")

# --- Microsoft's own examples ------------------------------------------------------------------------------


def test_signs_as_published() -> None:
    # azure_storage of github.com/Azure/azure-sdk-for-rust, test_blob_scoped_sas_token
    resource = "/blob/STORAGE_ACCOUNT_NAME/CONTAINER_NAME/"
    text = f"r\n\n1970-01-08T00:00:00Z\n{resource}\n\n\n\n2022-11-02\nb\n\n\n\n\n\n\n"
    signature = "VRZjVZ1c/Lz7IXCp17Sdx9+R9JDrnJdzE3NW56DMjNs="
    assert sign(text, "RZfi3m1W7eyQ5zD4ymSmGANVdJ2SDQmg4sE89SW104s=") == signature


# --- azure-storage-blob's own signatures -------------------------------------------------------------------

VERSIONS = ["2020-12-06", "2025-05-05"]  # the order of service SAS, the same to this day
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ANSWERS = {
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
    "content_type": "Content-Type",
}


def sdk_key() -> UserDelegationKey:
    key = UserDelegationKey()
    key.signed_oid, key.signed_tid = DELEGATION.oid, DELEGATION.tid
    key.signed_start, key.signed_expiry = DELEGATION.start, DELEGATION.expiry
    key.signed_service, key.signed_version, key.value = DELEGATION.service, DELEGATION.version, DELEGATION.value
    return key


@given(
    blob=texts,
    seconds=st.integers(1, 3600),
    start=st.one_of(st.none(), st.integers(0, 900)),
    permission=st.sampled_from(["r", "rw", "racwd"]),
    protocol=st.sampled_from([None, "https", "https,http"]),
    ip=st.sampled_from([None, "192.0.2.1", "192.0.2.1-192.0.2.9"]),
    scope=st.sampled_from([None, "encryption-scope"]),
    answer=st.dictionaries(st.sampled_from(sorted(ANSWERS)), texts),
    version_id=st.sampled_from([None, "2026-01-01T00:00:00.0000000Z"]),
    version=st.sampled_from([*VERSIONS, None]),
    delegated=st.booleans(),
    endpoint=st.sampled_from([ACCOUNT, EMULATOR]),
)
@settings(max_examples=300, deadline=None)
def test_accepts_what_the_sdk_signs(
    blob: str,
    seconds: int,
    start: int | None,
    permission: str,
    protocol: str | None,
    ip: str | None,
    scope: str | None,
    answer: dict[str, str],
    version_id: str | None,
    version: str | None,
    delegated: bool,
    endpoint: Account,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Of delegation the SDK only knows its newest order.
        if version is not None and not delegated:
            patch.setattr(_shared_access_signature, "X_MS_VERSION", version)
        token = generate_blob_sas(
            "account",
            "box",
            blob,
            account_key=None if delegated else KEY,
            user_delegation_key=sdk_key() if delegated else None,
            permission=permission,
            expiry=NOW + timedelta(seconds=seconds),
            start=None if start is None else NOW - timedelta(seconds=start),
            protocol=protocol,
            ip=ip,
            encryption_scope=scope,
            version_id=version_id,
            **answer,
        )
    url = f"{endpoint.endpoint_url}/box/{quote(blob, safe='/~')}?{token}"
    url += f"&versionid={quote(version_id)}" if version_id else ""

    def verify() -> Verified:
        return verify_sas(method="GET", url=url, account=endpoint, now=NOW)

    if protocol == "https" and endpoint is EMULATOR:
        with pytest.raises(Refused, match=r"^protocol:"):
            verify()
        return
    assert verify() == Verified(
        container="box",
        blob=blob,
        version=version_id,
        permissions=permission,
        starts_at=None if start is None else NOW - timedelta(seconds=start),
        expires_at=NOW + timedelta(seconds=seconds),
        delegated=delegated,
        answer={ANSWERS[name]: value for name, value in answer.items()},
        operation={},
    )


def one_bit_mutants(text: str) -> Iterator[str]:
    for at in range(len(text)):
        for bit in range(8):
            yield text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]


@pytest.mark.parametrize("delegated", [False, True], ids=["shared-key", "delegation"])
def test_refuses_every_one_bit_change_of_a_link_of_the_sdk(delegated: bool) -> None:
    token = generate_blob_sas(
        "account",
        "box",
        "a b/c.txt",
        account_key=None if delegated else KEY,
        user_delegation_key=sdk_key() if delegated else None,
        permission="r",
        expiry=NOW + timedelta(hours=1),
        protocol="https",
        content_disposition='attachment; filename="a b.txt"',
    )
    rest = f"/box/a%20b/c.txt?{token}"
    good = verify_sas(method="GET", url=HTTPS + rest, account=ACCOUNT, now=NOW)
    for mutant in one_bit_mutants(rest):
        # The hexadecimal digits of an escape have two cases; nothing else passes.
        try:
            passed = verify_sas(method="GET", url=HTTPS + mutant, account=ACCOUNT, now=NOW)
        except Refused:
            continue
        assert passed == good
        assert mutant.lower() == rest.lower()


# --- every reason ------------------------------------------------------------------------------------------

DELEGATED = dict(zip(("skoid", "sktid", "skt", "ske", "sks", "skv"), DELEGATION.fields, strict=True))


def link(
    *,
    version: str = "2025-05-05",
    permissions: str = "r",
    start: str = "",
    end: str = "2026-03-04T05:11:07Z",
    resource: str = "b",
    protocol: str = "https",
    blob: str = "key",
    key: str = KEY,
    delegation: Mapping[str, str] | None = None,
    disposition: str = "",
    version_id: str = "",
    more: str = "",
    endpoint: str = HTTPS,
) -> str:
    """Make a link that is signed properly, whatever it says."""
    own = [""] if delegation is None else [*delegation.values(), "", "", ""]
    fields = [permissions, start, end, f"/blob/account/box/{blob}", *own, "", protocol, version, resource]
    fields += [version_id, "", "", disposition, "", "", ""]
    query = {
        "sv": version,
        "st": start,
        "se": end,
        "sp": permissions,
        "sr": resource,
        "spr": protocol,
        "rscd": disposition,
        "versionid": version_id,
        **(delegation or {}),
        "sig": sign("\n".join(fields), key),
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value)
    return f"{endpoint}/box/{quote(blob)}?{text}{more}"


def verify_link(url: str, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {"method": "GET", "account": ACCOUNT, "now": NOW}
    return verify_sas(url=url, **arguments | changes)


GOOD = link()
PUT = {"method": "PUT", "headers": {"x-ms-blob-type": "BlockBlob"}}
D = {"delegation": DELEGATED, "key": DELEGATION.value}

# id -> reason, link, what is different in the request
REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no-key": ("account", GOOD, {"account": Account("account", HTTPS)}),
    "newline-in-the-blob": ("control_character", link(blob="a\nb"), {}),
    "return-in-the-disposition": ("control_character", link(disposition="a\rb"), {}),
    "unknown-delegation-key": ("delegation_key", link(**D | {"delegation": DELEGATED | {"skoid": "x"}}), {}),
    "revoked-delegation-key": ("delegation_key", link(**D), {"account": replace(ACCOUNT, delegation_keys=())}),
    "delegation-key-in-part": ("delegation_key", re.sub("&skoid=[^&]*", "", link(**D)), {}),
    "parameter-twice": ("duplicate", GOOD + "&sp=r", {}),
    "not-utf-8": ("encoding", GOOD.replace("/key?", "/%FF?"), {}),
    "over": ("expired", GOOD, {"now": NOW + timedelta(minutes=5)}),
    "key-over": (
        "key_expired",
        link(**D, end="2026-03-05T05:00:00Z"),
        {"now": datetime(2026, 3, 5, 5, tzinfo=UTC)},
    ),
    "key-too-early": ("key_not_yet_valid", link(**D), {"now": datetime(2026, 3, 4, 4, 59, 59, tzinfo=UTC)}),
    "outlives-its-key": ("outlives_its_key", link(**D, end="2026-03-05T05:00:01Z"), {}),
    "no-version": ("missing", GOOD.replace("sv=2025-05-05&", ""), {}),
    "no-end": ("missing", link(end=""), {}),
    "put-blob-of-no-type": ("missing_header", link(permissions="c"), {"method": "PUT"}),
    "too-early": ("not_yet_valid", link(start="2026-03-04T05:06:08Z"), {}),
    "put-with-read": ("permission", GOOD, PUT),
    "get-with-create": ("permission", link(permissions="c"), {}),
    "overwrite-with-create": ("permission", link(permissions="c"), PUT | {"blob_exists": True}),
    "block-with-create": ("permission", link(permissions="c", more="&comp=block&blockid=AAAA"), PUT),
    "delete-with-write": ("permission", link(permissions="w"), {"method": "DELETE"}),
    "post": ("permission", link(permissions="rw"), {"method": "POST"}),
    "permissions-out-of-order": ("permissions", link(permissions="wr"), {}),
    "unknown-permission": ("permissions", link(permissions="rz"), {}),
    "https-only": (
        "protocol",
        link(endpoint=EMULATOR.endpoint_url),
        {"account": EMULATOR},
    ),
    "http-only": ("protocol", link(protocol="http"), {}),
    "container": ("resource", link(resource="c"), {}),
    "snapshot": ("resource", link(resource="bs"), {}),
    "version-of-all": ("resource", link(resource="bv"), {}),
    "version-not-signed": ("resource", link(more="&versionid=1"), {}),
    "other-version": ("signature", link(resource="bv", version_id="1").replace("versionid=1", "versionid=2"), {}),
    "other-blob": ("signature", GOOD.replace("/key?", "/kez?"), {}),
    "other-account-key": ("signature", link(key=base64.b64encode(b"x" * 64).decode()), {}),
    "account-key-for-delegation": ("signature", link(delegation=DELEGATED), {}),
    "raised-permission": ("signature", GOOD.replace("sp=r", "sp=rw"), {}),
    "stretched-end": ("signature", GOOD.replace("T05%3A11", "T06%3A11"), {}),
    "added-disposition": ("signature", GOOD + "&rscd=inline", {}),
    "delegation-lines-of-2025-07": ("signature", link(**D, version="2025-07-05"), {}),
    "seven-decimals": ("time", link(end="2026-03-04T05:11:07.0000000Z"), {}),
    "day-only": ("time", link(end="2026-03-04"), {}),
    "no-such-time": ("time", link(start="2026-02-30T00:00:00Z"), {}),
    "unknown-parameter": ("unknown_parameter", GOOD + "&x=1", {}),
    "user-bound": ("unknown_parameter", GOOD + "&sduoid=1", {}),
    "other-endpoint": ("url", GOOD.replace("account.blob", "other.blob"), {}),
    "no-blob": ("url", GOOD.replace("/key?", "?"), {}),
    "container-in-upper-case": ("url", GOOD.replace("/box/", "/BOX/"), {}),
    "space": ("url", GOOD.replace("/key?", "/k y?"), {}),
    "old-version": ("version", link(version="2019-12-12"), {}),
    "version-is-text": ("version", link(version="latest"), {}),
}

ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "get": (GOOD, {}),
    "head": (GOOD, {"method": "HEAD"}),
    "create": (link(permissions="c"), PUT),
    "write-over": (link(permissions="w"), PUT | {"blob_exists": True}),
    "block": (link(permissions="w", more="&comp=block&blockid=AAAA"), {"method": "PUT"}),
    "started": (link(start="2026-03-04T05:06:07Z"), {}),
    "version": (link(resource="bv", version_id="1"), {}),
    "delegated": (link(**D), {}),
    "delegated-until-the-key-ends": (link(**D, end="2026-03-05T05:00:00Z"), {}),
    "http": (link(protocol="", endpoint=EMULATOR.endpoint_url), {"account": EMULATOR}),
    "second-key": (GOOD, {"account": replace(ACCOUNT, keys=(base64.b64encode(b"x").decode(), KEY))}),
}


@pytest.mark.parametrize(("url", "changes"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepts_the_link(url: str, changes: dict[str, Any]) -> None:
    assert verify_link(url, **changes).blob == "key"


@pytest.mark.parametrize(("reason", "url", "changes"), REFUSALS.values(), ids=REFUSALS)
def test_refuses_the_link(reason: str, url: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        verify_link(url, **changes)
    assert refusal.value.reason == reason


def test_the_table_holds_every_reason() -> None:
    assert {reason for reason, *_ in REFUSALS.values()} == set(REASONS)


def test_no_key_and_no_signature_is_shown() -> None:
    assert KEY not in repr(ACCOUNT)
    assert DELEGATION.value not in repr(ACCOUNT)
    for bad in (GOOD[:-4], GOOD + "&x=1"):
        with pytest.raises(Refused) as refusal:
            verify_link(bad)
        assert dict(parse_qsl(urlsplit(GOOD).query))["sig"][:20] not in str(refusal.value)

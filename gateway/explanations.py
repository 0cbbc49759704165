"""Why the door would answer as it does: every policy that is asked, every limit, the signer and its end.

Asks the door itself for the answer, and must not make a link or record a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway import links
from gateway.errors import StorageUnavailable
from gateway.policies import (
    Allow,
    And,
    Delete,
    Deny,
    Download,
    DownloadPrefix,
    Failure,
    Not,
    Or,
    Share,
    Update,
    Upload,
    UploadForm,
    UploadPart,
    evaluate,
)
from gateway.principals import Principal
from gateway.resources import Resource, private_storage

__all__ = ["ASKABLE", "Asked", "Explanation", "Signer", "explain"]

_BYTES = "application/octet-stream"
# How to ask for each operation; of an upload what a policy may look at is made up.
ASKABLE: dict[str, Callable[[str], Any]] = {
    "Download": Download,
    "Update": Update,
    "Delete": Delete,
    "Share": Share,
    "DownloadPrefix": DownloadPrefix,
    "Upload": lambda key: Upload(key, content_type=_BYTES, size_bytes=1),
    "UploadForm": lambda key: UploadForm(key, content_type=_BYTES, min_bytes=1, max_bytes=1),
    "UploadPart": lambda key: UploadPart(key, upload_id="explanation", number=1, size_bytes=1),
}
_SIGNED = (Download, Upload, UploadForm, UploadPart)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One policy's answer: ``allow``, ``deny`` or ``failure``; ``depth`` is how far inside another it stands."""

    policy: str
    depth: int
    answer: str
    reason: str
    limits: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What would sign, and until when its credential lasts; None where that has no end, or could not be had."""

    storage_alias: str
    provider: str
    credential_ends_at: datetime | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the door would answer, and why.

    Attributes:
        reason: why not; empty where it would allow.
        policy: who said yes.
        asked: every policy, the outermost first.
        limits: every limit on the life of a link: a number of seconds, or an instant.
        limited_by: which of them won; empty where the life is what was set.
        ttl_seconds, expires_at: of a link made now; None where none would be.
    """

    principal: str
    resource: str
    operation: str
    is_allowed: bool
    reason: str
    policy: str
    asked: tuple[Asked, ...]
    limits: dict[str, int | datetime]
    limited_by: str
    ttl_seconds: int | None
    expires_at: datetime | None
    signer: Signer | None


def explain(
    principal: Principal, resource: Resource, operation: str = "Download", *, asker: Principal | None = None
) -> Explanation:
    """Explain one decision; ``operation`` is a name in :data:`ASKABLE`.

    Args:
        asker: whom it is explained to; where tenants are told apart, of another one there is nothing to see.

    Raises:
        AccessDenied: the row is of another tenant than the asker's.
        DatabaseUnavailable: the question could not be asked.
    """
    make = ASKABLE[operation]
    now = datetime.now(UTC)
    rehearsed = links.rehearse(principal, resource, make, asker=asker, now=now)
    asked: tuple[Asked, ...] = ()
    if rehearsed.resource.key is not None and rehearsed.is_known:
        policy = links.policy_for(rehearsed.resource)
        asked = tuple(_asked(policy, principal, rehearsed.resource, make(rehearsed.resource.key), 0))
    signer = None
    expires_at = None
    if not rehearsed.refusal and isinstance(rehearsed.operation, _SIGNED):
        signer = _signer(rehearsed.resource.storage_alias, type(rehearsed.operation), now)
        expires_at = (rehearsed.signed_at or now).replace(microsecond=0) + timedelta(seconds=rehearsed.seconds)
    limited_by = rehearsed.limited_by
    credential_ends_at = None if signer is None else signer.credential_ends_at
    if expires_at is not None and credential_ends_at is not None and credential_ends_at < expires_at:
        expires_at, limited_by = credential_ends_at, "credential"
    return Explanation(
        principal=principal.id,
        resource=rehearsed.resource.id,
        operation=operation,
        is_allowed=not rehearsed.refusal,
        reason=rehearsed.refusal,
        policy=rehearsed.policy,
        asked=asked,
        limits=rehearsed.limits,
        limited_by=limited_by,
        ttl_seconds=None if expires_at is None else int((expires_at - now.replace(microsecond=0)).total_seconds()),
        expires_at=expires_at,
        signer=signer,
    )


def _asked(policy: Any, principal: Principal, resource: Resource, operation: Any, depth: int) -> Iterator[Asked]:
    if policy is None:
        return
    if principal.kind == "system":
        yield Asked(policy=str(policy), depth=depth, answer="not asked", reason="SYSTEM is asked nothing", limits={})
        return
    match evaluate(policy, principal, resource, operation):
        case Allow() as allow:
            limits = allow.limits
            told = {
                "max_ttl_seconds": None if limits.max_ttl is None else int(limits.max_ttl.total_seconds()),
                "until": limits.until,
                "dispositions": None if limits.dispositions is None else sorted(limits.dispositions),
                "shareable": limits.shareable or None,
            }
            known = {name: value for name, value in told.items() if value is not None}
            yield Asked(policy=str(policy), depth=depth, answer="allow", reason=allow.policy, limits=known)
        case Deny() as deny:
            yield Asked(policy=str(policy), depth=depth, answer="deny", reason=deny.reason, limits={})
        case Failure() as failure:
            reason = type(failure.error).__name__
            yield Asked(policy=str(policy), depth=depth, answer="failure", reason=reason, limits={})
    match policy:
        case And() | Or():
            parts = [policy.left, policy.right]
        case Not():
            parts = [policy.policy]
        case _:
            parts = []
    for part in parts:
        yield from _asked(part, principal, resource, operation, depth + 1)


def _signer(alias: str, kind: type, now: datetime) -> Signer:
    """Say what would sign. The end of its credential is where a link to the probe's key, to nothing, would end."""
    name, longest = "", timedelta(seconds=60)
    try:
        provider = private_storage(alias).provider_for(kind)
        name, longest = type(provider).__name__, provider.capabilities.max_ttl
        end = links.probe(alias, ttl=longest, now=now).expires_at
    except StorageUnavailable as error:
        return Signer(storage_alias=alias, provider=name, credential_ends_at=None, problem=str(error))
    cut = end < now.replace(microsecond=0) + longest
    return Signer(storage_alias=alias, provider=name, credential_ends_at=end if cut else None)

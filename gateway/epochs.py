"""What was taken back, as numbers: whatever was given under a lower number than its epoch is void.

Read on every decision and for every local link. Must not decide about a file, and must not take anything back
itself: that is gateway.revocation's.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps as installed
from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.db import connections, router
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from gateway.errors import TakenBack
from gateway.models import Epoch, Issuance
from gateway.principals import SESSION_EPOCH, Principal

__all__ = [
    "Now",
    "begin_to_count",
    "check_not_overtaken",
    "digests_of",
    "is_void",
    "now",
    "object_targets",
    "stamp_of",
    "void_credential",
]

Scope = Epoch.Scope
_NOBODY = "0" * 32
_SHOWN = {Scope.EVERYTHING: "everything", Scope.TENANT: "the tenant", Scope.PRINCIPAL: "the user"}
_STAMP = re.compile(r"(?P<number>[0-9]{1,19})-(?P<principal>[0-9a-f]{32})(?:-(?P<tenant>[0-9a-f]{32}))?")


@dataclass(frozen=True, slots=True)
class Now:
    """What a decision has to know: the number that everything given now is given under, and what is void.

    Attributes:
        everything, principal, tenant: number of the last time that all, or all of the principal's or the
            tenant's, was taken back; 0 where it never was.
    """

    number: int = 0
    everything: int = 0
    principal: int = 0
    tenant: int = 0


def now(principal: Principal, tenant: str = "") -> Now:
    """Read the epochs that concern a principal, in one query."""
    digests = digests_of(principal, tenant)
    found = _numbers(f"digest IN ({', '.join(['%s'] * len(digests))})", *digests.values())
    return Now(**{name: found.get(digest, 0) for name, digest in digests.items()})


def digests_of(principal: Principal, tenant: str = "") -> dict[str, str]:
    """Name the rows that :class:`Now` is read from, by its attributes."""
    digests = {"number": Epoch.digest_of(Scope.COUNTER)}
    return digests | {scope.value: Epoch.digest_of(scope, target) for scope, target in _epochs_of(principal, tenant)}


def void_credential(principal: Principal, tenant: str, read: Now) -> str:
    """Say why the token or session that proves a principal is void; empty where it is not.

    What the gateway does not know, such as another framework's token, is for its own framework to end.
    """
    for scope, target in _epochs_of(principal, tenant):
        number = getattr(read, scope.value)
        if not number:
            continue
        token, began = principal.token, principal.session_epoch
        if token is not None:
            # Tokens of other issuers know nothing of our numbers, but when they were made.
            is_void = token.created_at <= _instant_of(scope, target) if token.epoch is None else token.epoch < number
        else:
            is_void = began is not None and began < number
        if is_void:
            return (
                f"what {_SHOWN[scope]} was given before {_instant_of(scope, target):%Y-%m-%d %H:%M:%S} was taken back"
            )
    return ""


def stamp_of(principal: Principal | None, tenant: str, read: Now) -> str:
    """Return what a local link carries, so that it can be taken back: its number, and for whom it is.

    Who that is can be told only with the secret key, since a link goes through many hands.

    Args:
        principal: None for a link that several may share.
    """
    tag = _NOBODY if principal is None else _tag(Scope.PRINCIPAL, principal.id, settings.SECRET_KEY)
    stamp = f"{read.number}-{tag}"
    return f"{stamp}-{_tag(Scope.TENANT, tenant, settings.SECRET_KEY)}" if tenant else stamp


def is_void(alias: str, key: str, stamp: str | None) -> bool:
    """Tell whether a local link was taken back; one without a stamp is older than all, and anybody's."""
    parts = _STAMP.fullmatch(stamp or f"0-{_NOBODY}")
    if parts is None:
        return True
    named = [Epoch.digest_of(Scope.EVERYTHING), Epoch.digest_of(Scope.STORAGE, alias)]
    named += [Epoch.digest_of(Scope.OBJECT, target) for target in object_targets(alias, key)]
    newer = _rows().filter(
        Q(digest__in=named) | Q(scope__in=[Scope.PRINCIPAL, Scope.TENANT]), number__gt=int(parts["number"])
    )
    for scope, target in newer.values_list("scope", "target"):
        if scope not in (Scope.PRINCIPAL, Scope.TENANT) or stamp is None:
            return True
        if parts[scope] is not None and _is_tag_of(parts[scope], scope, target):
            return True
    return False


def object_targets(alias: str, key: str) -> Iterator[str]:
    """Name an object and every prefix above it, as epochs do."""
    yield f"{alias}:{key}"
    for position, character in enumerate(key):
        if character == "/" and position + 1 < len(key):
            yield f"{alias}:{key[: position + 1]}"


def check_not_overtaken(rows: Iterable[Issuance]) -> None:
    """Let no link leave that was taken back between its decision and its record.

    Asked once the rows are committed: whoever takes something back either finds them, or is found here.

    Raises:
        TakenBack: one was.
    """
    issued = [row for row in rows if row.decision == Issuance.Decision.ISSUED and row.epoch is not None]
    if not issued:
        return
    least = min(row.epoch for row in issued if row.epoch is not None)
    taken = _numbers("number > %s", least)
    if taken and any(taken.get(digest, 0) > (row.epoch or 0) for row in issued for digest in _digests_of(row)):
        raise TakenBack("what was asked for was taken back in the meantime")


def _digests_of(row: Issuance) -> Iterator[str]:
    yield Epoch.digest_of(Scope.EVERYTHING)
    yield Epoch.digest_of(Scope.STORAGE, row.storage_alias)
    yield Epoch.digest_of(Scope.PRINCIPAL, row.principal)
    if row.tenant:
        yield Epoch.digest_of(Scope.TENANT, row.tenant)
    for target in object_targets(row.storage_alias, row.key):
        yield Epoch.digest_of(Scope.OBJECT, target)


def _is_tag_of(tag: str, scope: str, target: str) -> bool:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(tag, _tag(scope, target, key)) for key in keys)


def _tag(scope: str, target: str, secret_key: str | bytes) -> str:
    mac = salted_hmac(f"presign-gateway stamp {scope}", target, secret=secret_key, algorithm="sha256")
    return mac.hexdigest()[:32]


def _epochs_of(principal: Principal, tenant: str) -> list[tuple[Epoch.Scope, str]]:
    """Name the epochs that end what proves a principal."""
    tenants = [(Scope.TENANT, tenant)] if tenant else []
    return [(Scope.EVERYTHING, ""), *tenants, (Scope.PRINCIPAL, principal.id)]


def _numbers(condition: str, *parameters: str | int) -> dict[str, int]:
    """Return numbers by digest. In plain SQL, since every link asks twice, and the ORM takes longer than the database.

    Args:
        condition: written here, never made of what anybody sends.
    """
    connection = connections[router.db_for_write(Epoch)]
    table = connection.ops.quote_name(Epoch._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT digest, number FROM {table} WHERE {condition}", parameters)  # noqa: S608
        return dict(cursor.fetchall())


def _instant_of(scope: Epoch.Scope, target: str) -> datetime:
    at: datetime = _rows().values_list("at", flat=True).get(digest=Epoch.digest_of(scope, target))
    return at


def _rows() -> Any:
    return Epoch.objects.using(router.db_for_write(Epoch))


def begin_to_count(*, using: str, apps: Any = installed, **_: Any) -> None:
    """Let the counter be there, which one statement reads together with a row; as a receiver of ``post_migrate``."""
    try:
        model: type[Epoch] = apps.get_model("presign_gateway", "Epoch")
    except LookupError:
        return
    if router.allow_migrate_model(using, model):
        rows = model.objects.using(using)
        at = timezone.now()
        rows.get_or_create(
            digest=Epoch.digest_of(Scope.COUNTER), defaults={"scope": Scope.COUNTER, "number": 0, "at": at}
        )


def _stamp_session(*, request: Any, **_: Any) -> None:
    """Note under which number a session begins; where nothing was ever taken back there is nothing to note."""
    session: Any = getattr(request, "session", None)
    number = 0 if session is None else Epoch.current_number()
    if number:
        session[SESSION_EPOCH] = number


user_logged_in.connect(_stamp_session, dispatch_uid="gateway.epochs")

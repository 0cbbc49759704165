"""Who signs: credentials that know their end and never show their secret.

Must not decide how long a link may live for any other reason, and knows nothing of requests or users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from providers.errors import CredentialsExpired, InvalidConfiguration
from providers.types import is_aware, matches

__all__ = ["AWSCredentials", "StaticCredentials", "covered_seconds"]

# A link must be dead before its credential is, whichever of the two clocks is ahead.
CREDENTIAL_MARGIN = timedelta(seconds=60)
_SECOND = timedelta(seconds=1)
# White space around a key is the line end of the file it was read from: S3 would refuse every link.
_NOT_BLANK = re.compile(r"\S(?:.*\S)?")


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """An AWS key pair, with the session token and the end that temporary ones have.

    Args:
        access_key_id: not secret; it stands in every link.
        secret_access_key: never shown.
        session_token: of temporary credentials; it stands in every link, so it is never shown either.
        expires_at: aware; the end of temporary credentials.

    Raises:
        InvalidConfiguration: a part is empty or has white space around it (botocore would sign with it, and
            S3 refuse the link), or the end is naive.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("access_key_id", "secret_access_key"):
            if not matches(_NOT_BLANK, getattr(self, name)):
                raise InvalidConfiguration(f"{name} is empty or has white space around it; a link needs one")
        if self.session_token is not None and not matches(_NOT_BLANK, self.session_token):
            raise InvalidConfiguration("session_token is empty or has white space around it; None where there is none")
        if self.expires_at is not None and not is_aware(self.expires_at):
            raise InvalidConfiguration(f"expires_at is {self.expires_at!r}; an aware datetime")

    def current(self, *, now: datetime, needed: timedelta) -> StaticCredentials:
        """Return the key pair to sign with; a static one is always itself."""
        return self


@runtime_checkable
class AWSCredentials(Protocol):
    """A source of key pairs. ``current`` may refresh first, so that ``needed`` from ``now`` is covered.

    One that may open a connection for it says so with an attribute ``offline`` that is False.
    """

    def current(self, *, now: datetime, needed: timedelta) -> StaticCredentials: ...


def covered_seconds(wanted_seconds: int, *, now: datetime, expires_at: datetime | None) -> int:
    """Shorten a lifetime to what the credential covers, less a minute.

    Raises:
        CredentialsExpired: not one second is left.
    """
    if expires_at is None:
        return wanted_seconds
    # Of instants, whatever zone the end is written in: Python leaves the zones out only where both have the same.
    left = expires_at - now - CREDENTIAL_MARGIN
    if left < _SECOND:
        raise CredentialsExpired(
            f"the credential ends at {expires_at.isoformat()};"
            f" a link needs at least {CREDENTIAL_MARGIN.seconds + 1} s of it"
        )
    return min(wanted_seconds, left.days * 86_400 + left.seconds)

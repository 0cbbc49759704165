"""What a policy answers: Allow with limits, or Deny with a reason; a Failure is neither.

Must not ask anybody: here stands only which answers there are, and what of an answer is none.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from django.db import InterfaceError, OperationalError

from providers.types import is_aware

__all__ = ["DATABASE_DOWN", "NO_LIMITS", "Allow", "Decided", "Deny", "Failure", "Limits", "checked"]

_DISPOSITIONS = frozenset({"inline", "attachment"})
# Not a policy's failure: the question could not be asked, and the answer is 503.
DATABASE_DOWN = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an Allow still withholds. None is no limit.

    Attributes:
        max_ttl: the longest lifetime of a link, whole seconds, at least 1.
        until: aware; no link outlives it.
        dispositions: the ones a link may have, of ``inline`` and ``attachment``.
        shareable: one principal's link may be reused for another.

    Raises:
        TypeError, ValueError: a limit that could not be held, so that the policy fails where it says so.
    """

    _: KW_ONLY
    max_ttl: timedelta | None = None
    until: datetime | None = None
    dispositions: frozenset[str] | None = None
    shareable: bool = False

    def __post_init__(self) -> None:
        if self.max_ttl is not None:
            if not isinstance(self.max_ttl, timedelta):
                raise TypeError(f"max_ttl is of type {type(self.max_ttl).__name__}; timedelta")
            if self.max_ttl < timedelta(seconds=1) or self.max_ttl.microseconds:
                raise ValueError(f"max_ttl is {self.max_ttl.total_seconds()} s; whole seconds, at least 1")
        if self.until is not None and not is_aware(self.until):
            raise TypeError(f"until is {self.until!r}; an aware datetime")
        dispositions: Any = self.dispositions
        if dispositions is not None and not (isinstance(dispositions, frozenset) and dispositions <= _DISPOSITIONS):
            raise ValueError(f"dispositions is {dispositions!r}; a frozenset of inline and attachment")
        if type(self.shareable) is not bool:
            raise TypeError(f"shareable is {self.shareable!r}; True or False")

    def __and__(self, other: Limits) -> Limits:
        """Return the tightest of both."""
        dispositions = self.dispositions
        if other.dispositions is not None:
            dispositions = other.dispositions if dispositions is None else dispositions & other.dispositions
        return Limits(
            max_ttl=min((t for t in (self.max_ttl, other.max_ttl) if t is not None), default=None),
            until=min((u for u in (self.until, other.until) if u is not None), default=None),
            dispositions=dispositions,
            shareable=self.shareable and other.shareable,
        )


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes, within limits; ``policy`` names who said so."""

    limits: Limits = NO_LIMITS
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """No; ``reason`` is for the audit, never for the client."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Neither yes nor no: the policy raised or answered something else. A refusal that no ``~`` turns."""

    error: Exception


Decided: TypeAlias = Allow | Deny | Failure


def checked(policy: Any, answer: Any) -> Allow | Deny:
    """Return a policy's answer, and name who allows where the answer does not.

    Raises:
        TypeError: it is neither Allow nor Deny.
    """
    if isinstance(answer, Allow):
        if not isinstance(answer.limits, Limits):
            raise TypeError(f"{policy} allows within {type(answer.limits).__name__}; Limits")
        return answer if answer.policy else Allow(answer.limits, str(policy))
    if isinstance(answer, Deny):
        return answer
    raise TypeError(f"{policy} answered {type(answer).__name__}; Allow or Deny")

"""What the doctor says: one finding for each thing that was looked at.

Must hold no link, key or secret; a finding is printed, mailed and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Finding", "Verdict", "fail", "note", "ok", "silent", "unseen"]

# unseen: this identity may not look, or the store does not know the question. note: not wrong, but to be known.
Verdict = Literal["ok", "fail", "unseen", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: a stable name, such as ``cors.foreign-origin``.
        subject: the alias, or ``service``.
        found: what was seen.
        remedy: what to do; empty where nothing is to be done.
        document: a policy or configuration that mends it.
    """

    check: str
    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""
    document: Any = None

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "check": self.check,
            "subject": self.subject,
            "verdict": self.verdict,
            "found": self.found,
            "remedy": self.remedy,
            "document": self.document,
        }


def ok(subject: str, check: str, found: str) -> Finding:
    return Finding(check, subject, "ok", found)


def fail(subject: str, check: str, found: str, remedy: str, document: Any = None) -> Finding:
    return Finding(check, subject, "fail", found, remedy, document)


def note(subject: str, check: str, found: str, remedy: str = "") -> Finding:
    return Finding(check, subject, "note", found, remedy)


def unseen(subject: str, check: str, found: str, remedy: str = "") -> Finding:
    return Finding(check, subject, "unseen", found, remedy)


def silent(subject: str, check: str, what: str, answer: object) -> Finding:
    """What was asked was neither done nor refused."""
    return unseen(subject, check, f"{what} was not decided ({answer})", "Run it again when the store answers.")

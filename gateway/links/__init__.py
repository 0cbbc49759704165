"""The only door: decide, sign, record. Nothing else in the gateway asks a provider to sign.

Every link passes one post-condition before it leaves; whatever is missing or odd is a refusal.
"""

from __future__ import annotations

from gateway.links.answers import IssuedURL, LinkText, Permit, Refusal, Way
from gateway.links.asks import PROBE_KEY, AskedFor
from gateway.links.checking import check_link
from gateway.links.choosing import may_be_named, policy_for
from gateway.links.coroutines import aauthorize, aissue, aissue_many, aissue_once, aprefetch, aprobe
from gateway.links.door import (
    allowed,
    authorize,
    deliver,
    issue,
    issue_cookies,
    issue_many,
    issue_session,
    permit,
    rehearse,
)
from gateway.links.remembering import issue_once, issued_before, prefetch
from gateway.links.signing import probe
from gateway.tenants import tenant_name

__all__ = [
    "PROBE_KEY",
    "AskedFor",
    "IssuedURL",
    "LinkText",
    "Permit",
    "Refusal",
    "Way",
    "aauthorize",
    "aissue",
    "aissue_many",
    "aissue_once",
    "allowed",
    "aprefetch",
    "aprobe",
    "authorize",
    "check_link",
    "deliver",
    "issue",
    "issue_cookies",
    "issue_many",
    "issue_once",
    "issue_session",
    "issued_before",
    "may_be_named",
    "permit",
    "policy_for",
    "prefetch",
    "probe",
    "rehearse",
    "tenant_name",
]

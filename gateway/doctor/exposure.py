"""What strangers get, over which transport, and whether the store's clock is ours.

Must not send a credential: nothing here is signed but one link over plain http, to the probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gateway.doctor.documents import bucket_policy
from gateway.doctor.findings import Finding, fail, ok, silent, unseen
from gateway.doctor.visit import Visit

__all__ = ["examine_exposure", "examine_place"]

MOST_SKEW_SECONDS = 60


def examine_exposure(visit: Visit) -> Iterator[Finding]:
    for check, what, url in (
        ("anonymous.read", "an anonymous download", visit.address),
        ("anonymous.list", "an anonymous listing", visit.listing_url),
    ):
        answer = visit.fetch("GET", url)
        if answer.is_success:
            yield fail(
                visit.alias, check, f"{what} works: the bucket is public", "Block public access; remove public grants."
            )
        elif answer.is_silence:
            yield silent(visit.alias, check, what, answer)
        else:
            yield ok(visit.alias, check, f"{what} is refused ({answer})")
    if not visit.is_local:
        yield from _plain_http(visit)


def _plain_http(visit: Visit) -> Iterator[Finding]:
    link = visit.download().url
    if not link.startswith("https:"):
        yield fail(
            visit.alias, "transport", "links are for plain http: whoever is on the way reads them", "Use https://."
        )
        return
    answer = visit.fetch("GET", link.replace("https:", "http:", 1))
    if answer.is_success:
        document = bucket_policy(visit.bucket, visit.max_ttl) if visit.is_s3 else None
        yield fail(
            visit.alias,
            "transport",
            "a link works over plain http",
            "Refuse it in the bucket's policy, or close the port.",
            document,
        )
    else:
        yield ok(visit.alias, "transport", f"plain http is refused ({answer})")


def examine_place(visit: Visit) -> Iterator[Finding]:
    """Compare clocks and regions."""
    before = datetime.now(UTC)
    answer = visit.fetch("HEAD", visit.address)
    now = before + (datetime.now(UTC) - before) / 2
    if not answer.status:
        visit.answers = False
        yield fail(
            visit.alias, "endpoint", f"the store does not answer: {answer}", "Look at the endpoint and the network."
        )
        return
    yield ok(visit.alias, "endpoint", "the store answers")
    if visit.is_local:
        return
    if "date" in answer.headers:
        skew = (parsedate_to_datetime(answer.headers["date"]) - now).total_seconds()
        if abs(skew) > MOST_SKEW_SECONDS:
            yield fail(
                visit.alias,
                "clock",
                f"this clock differs from the store's by {abs(skew):.0f} s; at most {MOST_SKEW_SECONDS} s",
                "Set the clock by NTP: links begin too late and end too early, or the other way round.",
            )
        else:
            yield ok(visit.alias, "clock", f"this clock and the store's differ by {abs(skew):.0f} s")
    else:
        yield unseen(visit.alias, "clock", "the store says no date")
    if visit.is_s3 and (region := answer.headers.get("x-amz-bucket-region")):
        if region == visit.storage.region_name:
            yield ok(visit.alias, "region", f"the bucket is in {region}")
        else:
            yield fail(
                visit.alias,
                "region",
                f"the bucket is in {region}; links are signed for {visit.storage.region_name}",
                f"Set region_name to {region}.",
            )

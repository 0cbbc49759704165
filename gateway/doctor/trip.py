"""The way of a file: uploaded by a link, fetched by a link, and refused to every other link.

Must not touch any object but the probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gateway.doctor.findings import Finding, fail, note, ok, silent
from gateway.doctor.visit import CONTENT, Visit
from providers.types import SignedURL

__all__ = ["examine_links", "examine_upload"]

_NOT_VERIFIED = "Do not use this store: it does not verify signatures. Emulators are for tests."


def examine_upload(visit: Visit) -> Iterator[Finding]:
    """Upload the probe; afterwards ``visit.is_there`` tells whether there is one."""
    link = visit.upload()
    yield from _other_type(visit, link)
    if not visit.is_there:
        answer = visit.fetch("PUT", link.url, dict(link.headers), CONTENT)
        visit.is_there = answer.is_success
        if not answer.is_success:
            yield fail(
                visit.alias,
                "upload",
                f"an upload link is refused ({answer}{_code(answer.body)})",
                "Let the signer create objects below uploads/; look at region, endpoint, clock and policy.",
            )
            return
    yield ok(visit.alias, "upload", "an upload link works")
    if visit.uploads.capabilities.binds_no_overwrite:
        again = visit.fetch("PUT", link.url, dict(link.headers), CONTENT)
        if again.is_success:
            yield fail(
                visit.alias,
                "upload.overwrite",
                "an upload link replaces the object that it created",
                "Use a store that honours If-None-Match, or keep versions and pin links to them.",
            )
        elif again.is_silence:
            yield silent(visit.alias, "upload.overwrite", "a second upload", again)
        else:
            yield ok(visit.alias, "upload.overwrite", f"a second upload is refused ({again})")


def _other_type(visit: Visit, link: SignedURL) -> Iterator[Finding]:
    """Send the same bytes under another type: were they taken, the uploader would choose how they are shown."""
    if not visit.uploads.capabilities.binds_content_type:
        found = "this store's links bind no content type"
        yield note(visit.alias, "upload.other-type", found, "The gateway looks at it when the upload is finished.")
        return
    answer = visit.fetch("PUT", link.url, {**link.headers, "Content-Type": "text/html"}, CONTENT)
    if answer.is_success:
        visit.is_there = True
        yield fail(visit.alias, "upload.other-type", "an upload link takes another content type", _NOT_VERIFIED)
    elif answer.is_silence:
        yield silent(visit.alias, "upload.other-type", "an upload of another content type", answer)
    else:
        yield ok(visit.alias, "upload.other-type", f"another content type is refused ({answer})")


def examine_links(visit: Visit) -> Iterator[Finding]:
    """Fetch the probe by a right link, and by wrong ones."""
    link = visit.download()
    answer = visit.fetch("GET", link.url)
    if not answer.is_success or answer.body != CONTENT:
        yield fail(
            visit.alias,
            "link",
            f"a download link does not bring the bytes that were uploaded ({answer}{_code(answer.body)})",
            "Let the signer read objects below uploads/; look at region, endpoint, clock and policy.",
        )
        return
    yield ok(visit.alias, "link", "a download link brings the bytes that were uploaded")
    wrong = {
        "link.tampered": ("a changed signature", _tampered(link.url, visit.provider.capabilities.signature_parameter)),
        "link.other-key": ("a signature for another key", link.url.replace(visit.name, visit.name[::-1] + "x")),
        "link.expired": ("an expired link", visit.download(now=datetime.now(UTC) - timedelta(minutes=10)).url),
    }
    for check, (what, url) in wrong.items():
        answer = visit.fetch("GET", url)
        if answer.is_refusal:
            yield ok(visit.alias, check, f"{what} is refused ({answer})")
        elif answer.is_silence:
            yield silent(visit.alias, check, what, answer)
        else:
            yield fail(visit.alias, check, f"{what} is not refused ({answer})", _NOT_VERIFIED)


def _tampered(url: str, parameter: str) -> str:
    before, name, after = url.partition(f"{parameter}=")
    return f"{before}{name}{'1' if after[0] != '1' else '2'}{after[1:]}"


def _code(body: bytes) -> str:
    """Return the error code of an XML answer, which names no secret."""
    _, found, rest = body.partition(b"<Code>")
    code = rest.partition(b"</Code>")[0].decode("ascii", "replace")
    return f" {code}" if found and code.isalnum() else ""

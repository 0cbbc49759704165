"""Whether the pages that may upload can, and no others.

Must not judge what browsers do with an answer: only what the store says of an origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.doctor import documents
from gateway.doctor.findings import Finding, fail, note, ok, silent
from gateway.doctor.transport import Answer
from gateway.doctor.visit import Visit

__all__ = ["examine_cors"]

FOREIGN = "https://foreign.invalid"
_METHODS = ("GET", "HEAD", "PUT", "POST")
_HEADERS = ("content-disposition", "content-md5", "content-type", "if-none-match", "range", "x-amz-checksum-*")


def examine_cors(visit: Visit) -> Iterator[Finding]:
    """Ask a preflight for each origin, with the headers that an upload link needs."""
    if visit.is_local:
        return
    link = visit.upload()
    headers = sorted(name.lower() for name in link.headers if name.lower() not in ("content-length", "host"))
    document: Any = None
    if visit.is_s3:
        document = documents.cors(visit.origins, _METHODS, _HEADERS)
    elif visit.is_gcs:
        document = documents.google_cors(visit.origins, _METHODS, [*headers, "range"])
    if not visit.origins:
        yield note(visit.alias, "cors", "no origin is known", "Name the pages that upload: --origin https://host.")
    asked = (("PUT", "upload", link.url, headers), ("GET", "download", visit.download().url, ["range"]))
    for origin in visit.origins:
        for method, name, url, wanted in asked:
            check = f"cors.{name}"
            answer = _preflight(visit, origin, method, url, wanted)
            if answer.is_silence:
                yield silent(visit.alias, check, f"{origin}'s {method}", answer)
            elif refused := _refused(answer, origin, method, wanted):
                remedy = f"Allow {origin} to {method} with the headers {', '.join(wanted)}."
                yield fail(visit.alias, check, f"{origin} may not {method}: {refused}", remedy, document)
            else:
                yield ok(visit.alias, check, f"{origin} may {method} with {', '.join(wanted)}")
    foreign = {method: _preflight(visit, FOREIGN, method, url, wanted) for method, _, url, wanted in asked}
    allowed = [
        method
        for method, _, _, wanted in asked
        if not foreign[method].is_silence and not _refused(foreign[method], FOREIGN, method, wanted)
    ]
    if allowed:
        yield fail(
            visit.alias,
            "cors.foreign-origin",
            f"a foreign origin may {', '.join(allowed)}",
            "Name the origins of the pages; no wildcard.",
            document,
        )
    elif silence := next((answer for answer in foreign.values() if answer.is_silence), None):
        yield silent(visit.alias, "cors.foreign-origin", "what a foreign origin may", silence)
    else:
        yield ok(visit.alias, "cors.foreign-origin", "a foreign origin may nothing")


def _preflight(visit: Visit, origin: str, method: str, url: str, headers: list[str]) -> Answer:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(headers),
    }
    return visit.fetch("OPTIONS", url, asked)


def _refused(answer: Answer, origin: str, method: str, headers: list[str]) -> str:
    """Return what a preflight does not allow; empty if it allows everything."""
    if not answer.is_success:
        return f"the preflight is refused ({answer})"
    if answer.headers.get("access-control-allow-origin") not in (origin, "*"):
        return "its origin is not allowed"
    if method not in _listed(answer.headers, "access-control-allow-methods"):
        return "the method is not allowed"
    allowed = [name.lower() for name in _listed(answer.headers, "access-control-allow-headers")]
    missing = [name for name in headers if not any(_covers(given, name) for given in allowed)]
    return f"the headers {', '.join(missing)} are not allowed" if missing else ""


def _covers(given: str, name: str) -> bool:
    return given == "*" or given == name or (given.endswith("*") and name.startswith(given[:-1]))


def _listed(headers: Mapping[str, str], name: str) -> list[str]:
    return [each.strip() for each in headers.get(name, "").split(",") if each.strip()]

"""Resumable uploads as Google documents them: one session for one object, sent in pieces by whoever has its address.

It must not be kinder than the documentation: what a session was begun with holds to its end, and it ends once.

Sources:
    https://cloud.google.com/storage/docs/resumable-uploads
    https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from tests.emulators.gcs_xml import NO_TYPE, Objects, Refusal, Reply, check_digests

CHUNK_BYTES = 256 * 2**10  # of which all pieces but the last are multiples
LIFETIME = timedelta(days=7)
CLIENT_CLOSED_REQUEST = 499
_JSON = "application/json"
_RANGE = re.compile(r"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+|\*)")
# What the JSON API lets every page send and read.
_ALLOWED = "content-type, content-range, x-goog-hash"
_EXPOSED = "Range, X-GUploader-UploadID"


@dataclass
class _Session:
    bucket: str
    key: str
    metadata: Mapping[str, str]
    most_bytes: int | None
    generation: str | None
    origin: str | None
    began_at: datetime
    content: bytearray = field(default_factory=bytearray)
    is_cancelled: bool = False
    made: Reply | None = None


class Sessions:
    """The sessions of all buckets, by the token in their address.

    Attributes:
        cancelled: keys whose sessions were given up, in order.
    """

    def __init__(self, objects: Objects, now: Callable[[], datetime]) -> None:
        self._objects = objects
        self._now = now
        self._sessions: dict[str, _Session] = {}
        self.cancelled: list[str] = []

    def forget(self, key: str) -> None:
        """Lose the sessions for a key, as Cloud Storage sometimes does."""
        self._sessions = {token: known for token, known in self._sessions.items() if known.key != key}

    def begin(
        self, bucket: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, endpoint_url: str
    ) -> Reply:
        """Begin one, for who may create objects; what is said here nobody can say otherwise later."""
        metadata = {name: str(value) for name, value in json.loads(body or b"{}").items()}
        key = query.get("name") or metadata["name"]
        metadata.pop("name", None)
        content_type = headers.get("x-upload-content-type") or metadata.get("contentType", NO_TYPE)
        if metadata.setdefault("contentType", content_type) != content_type:
            return _problem(400, "the type is said twice, and otherwise")
        length = headers.get("x-upload-content-length")
        session = _Session(
            bucket, key, metadata, None if length is None else int(length), query.get("ifGenerationMatch"),
            headers.get("origin"), self._now(),
        )  # fmt: skip
        if not self._meets(session):
            return _problem(412, "conditionNotMet")
        token = secrets.token_urlsafe(60)
        self._sessions[token] = session
        address = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={quote(key, safe='')}&upload_id={token}"
        return Reply(200, b"", {"Location": endpoint_url + address, "X-GUploader-UploadID": token[:20]})

    def handle(
        self, method: str, token: str, headers: Mapping[str, str], body: bytes, *, is_whole: bool = True
    ) -> Reply:
        """Answer whoever has the address; ``is_whole`` is False where the connection ended within the body."""
        session = self._sessions.get(token)
        if session is None:
            return _problem(404, "there is no such session")
        if method == "OPTIONS":
            return _preflight(session, headers)
        origin = headers.get("origin")
        if origin is not None and origin != session.origin:
            return _problem(403, "the session was begun for another origin")
        with self._objects.lock:
            reply = self._answer(session, method, headers, body, is_whole=is_whole)
        shown = {} if origin is None else _cors(origin)
        return Reply(reply.status, reply.body, {**reply.headers, **shown})

    def _answer(
        self, session: _Session, method: str, headers: Mapping[str, str], body: bytes, *, is_whole: bool
    ) -> Reply:
        if session.made is not None:
            # What is there already is not looked at again, and nothing can be added.
            return session.made if method == "PUT" else _problem(400, "there is nothing to cancel")
        if session.is_cancelled:
            return _problem(CLIENT_CLOSED_REQUEST, "the session was cancelled")
        if self._now() - session.began_at >= LIFETIME:
            return _problem(410, "the session has expired")
        if method == "DELETE":
            session.is_cancelled = True
            self.cancelled.append(session.key)
            return _problem(CLIENT_CLOSED_REQUEST, "the session was cancelled")
        if method != "PUT":
            return _problem(405, "PUT or DELETE")
        return self._put(session, headers, body, is_whole=is_whole)

    def _put(self, session: _Session, headers: Mapping[str, str], body: bytes, *, is_whole: bool) -> Reply:
        said = headers.get("content-range", f"bytes 0-{len(body) - 1}/{len(body)}" if body else "bytes */0")
        match = _RANGE.fullmatch(said)
        if match is None:
            return _problem(400, "Content-Range is none")
        first, last, total = (None if group in (None, "*") else int(group) for group in match.groups())
        if total is not None and session.most_bytes is not None and total > session.most_bytes:
            return _problem(400, "the total is more than the session was begun for")
        if first is None or last is None:
            if body:
                return _problem(400, "a question has no body")
        else:
            if is_whole and last - first + 1 != len(body):
                return _problem(400, "the body is not as long as its range")
            if total is not None and last >= total:
                return _problem(400, "the range ends after the total")
            if first > len(session.content):
                return _problem(400, "bytes before the range are missing")
            is_last = total is not None and last + 1 == total
            if is_whole and not is_last and len(body) % CHUNK_BYTES:
                return _problem(400, "a piece that is not the last is a multiple of 256 KiB")
            fresh = body[len(session.content) - first :]
            if not is_whole:
                fresh = fresh[: len(fresh) // CHUNK_BYTES * CHUNK_BYTES]
            if session.most_bytes is not None and len(session.content) + len(fresh) > session.most_bytes:
                return _problem(400, "these are more bytes than the session was begun for")
            session.content += fresh
        if total is not None and len(session.content) == total:
            return self._complete(session, headers)
        count = len(session.content)
        return Reply(308, b"", {"Range": f"bytes=0-{count - 1}"} if count else {})

    def _complete(self, session: _Session, headers: Mapping[str, str]) -> Reply:
        content = bytes(session.content)
        wanted = [f"{name}={session.metadata[said]}" for name, said in _DIGESTS.items() if said in session.metadata]
        wanted += filter(None, [headers.get("x-goog-hash")])
        try:
            check_digests({"x-goog-hash": ",".join(wanted)}, content)
        except Refusal:
            return _problem(400, "the bytes have another digest")
        if not self._meets(session):
            return _problem(412, "conditionNotMet")
        stored = {name: value for name, value in session.metadata.items() if name not in _DIGESTS.values()}
        kept = self._objects.write(session.bucket, session.key, content, **stored)
        if kept.status != 200:
            return kept
        about: dict[str, Any] = self._objects.about(session.bucket, session.key) or {}
        session.made = Reply(200, json.dumps(about).encode(), {"Content-Type": _JSON})
        return session.made

    def _meets(self, session: _Session) -> bool:
        if session.generation is None:
            return True
        about = self._objects.about(session.bucket, session.key)
        return session.generation == ("0" if about is None else str(about["generation"]))


_DIGESTS = {"md5": "md5Hash", "crc32c": "crc32c"}


def _preflight(session: _Session, headers: Mapping[str, str]) -> Reply:
    """Let in the one origin that the session was begun for, whatever the bucket's own rules are."""
    origin, asked = headers.get("origin"), headers.get("access-control-request-headers", "")
    names = {name.strip().lower() for name in asked.split(",")} - {""}
    allows = origin is not None and origin == session.origin and names <= set(_ALLOWED.split(", "))
    if not allows or headers.get("access-control-request-method") not in ("PUT", "DELETE"):
        return Reply(200)
    assert origin is not None
    allowed = {"Access-Control-Allow-Methods": "PUT, DELETE", "Access-Control-Allow-Headers": _ALLOWED}
    return Reply(200, b"", _cors(origin) | allowed)


def _cors(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED, "Vary": "Origin"}


def _problem(status: int, message: str) -> Reply:
    answer = {"error": {"code": status, "message": message}}
    return Reply(status, json.dumps(answer).encode(), {"Content-Type": _JSON})

"""What Cloud Storage's XML API does with a request that was verified: objects and browser forms.

It must not decide who may ask, nor know how bytes are kept: that is the emulator behind it.

Sources:
    https://cloud.google.com/storage/docs/xml-api/reference-headers
    https://cloud.google.com/storage/docs/xml-api/reference-status
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import quote

import google_crc32c

# What an object is given that was stored without a type; here it counts as none.
NO_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Reply:
    """One answer; the body is sent as it is."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def problem(status: int, code: str, detail: str = "") -> Reply:
    """Answer as Cloud Storage does: a code in XML."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Details>{detail}</Details></Error>"
    return Reply(status, body.encode(), {"Content-Type": "application/xml; charset=UTF-8"})


class Refusal(Exception):
    """The request was signed, but does not meet what it says itself."""

    def __init__(self, status: int, code: str) -> None:
        self.reply = problem(status, code)
        super().__init__(code)


# Asks the emulator: method, path with query, body, headers.
Ask = Callable[[str, str, bytes, Mapping[str, str]], Reply]


class Objects:
    """The objects of all buckets, kept by the emulator; conditions are looked at and met under one lock."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.lock = threading.RLock()
        self._joined: set[tuple[str, str, str]] = set()  # bucket, key, generation

    def about(self, bucket: str, key: str) -> dict[str, Any] | None:
        """Return what the JSON API says of an object; None where there is none."""
        reply = self._ask("GET", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}", b"", {})
        return None if reply.status == 404 else self.as_known(json.loads(reply.body))

    def as_known(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what Cloud Storage does not know: the MD5 of what was joined of parts."""
        is_joined = (about["bucket"], about["name"], str(about["generation"])) in self._joined
        return {name: value for name, value in about.items() if not (is_joined and name == "md5Hash")}

    def join(self, bucket: str, key: str, parts: Iterable[bytes], content_type: str) -> Reply:
        """Keep an object that is made of parts."""
        kept = self.write(bucket, key, b"".join(parts), contentType=content_type)
        if kept.status == 200:
            self._joined.add((bucket, key, kept.headers["x-goog-generation"]))
        return kept

    def write(self, bucket: str, key: str, content: bytes, **metadata: str) -> Reply:
        """Keep an object as it is: the emulator would parse JSON and forms if they came in one request."""
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable"
        headers = {"Content-Type": "application/json"}
        begun = self._ask("POST", path, json.dumps({"name": key, **metadata}).encode(), headers)
        if begun.status != 200:
            return problem(begun.status, "NoSuchBucket")
        target = re.sub("^https?://[^/]+", "", begun.headers["location"])
        ended = self._ask("PUT", target, content, {"Content-Type": NO_TYPE})
        assert ended.status == 200, ended.status
        return Reply(200, b"", _describe(json.loads(ended.body)))

    def read(self, bucket: str, key: str) -> bytes:
        return self._ask("GET", f"/download/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media", b"", {}).body

    def names(self, bucket: str) -> list[str]:
        listed = json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o", b"", {}).body)
        return [item["name"] for item in listed["items"]]

    # Signed requests.

    def get(self, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        with self.lock:
            about = self.about(bucket, key)
            if about is None or query.get("generation", about["generation"]) != about["generation"]:
                return problem(404, "NoSuchKey")
            content = self.read(bucket, key)
        answer = _describe(about) | _shown_as(about, query)
        if headers.get("if-none-match") == answer["ETag"]:
            return Reply(304, b"", answer)
        return _ranged(content, headers.get("range"), answer)

    def put(self, bucket: str, key: str, headers: Mapping[str, str], body: bytes) -> Reply:
        check_digests(headers, body)
        with self.lock:
            self._check_generation(bucket, key, headers.get("x-goog-if-generation-match"))
            return self.write(bucket, key, body, **_stored(headers))

    def post(self, bucket: str, fields: Mapping[str, str], body: bytes) -> Reply:
        with self.lock:
            kept = self.write(bucket, fields["key"], body, **_stored(fields))
        return kept if kept.status != 200 else Reply(int(fields.get("success_action_status", 204)), b"", kept.headers)

    def _check_generation(self, bucket: str, key: str, wanted: str | None) -> None:
        if wanted is None:
            return
        about = self.about(bucket, key)
        if wanted != ("0" if about is None else about["generation"]):
            raise Refusal(412, "PreconditionFailed")


def form_of(content_type: str, body: bytes) -> tuple[dict[str, str], bytes] | None:
    """Read a browser's form: the fields before the file, and the file; None for anything else."""
    message: Any = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, str] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if name == "file":
            return fields, content
        fields[name] = content.decode()
    return None


def _stored(headers: Mapping[str, str]) -> dict[str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    names = {
        "content-type": "contentType",
        "content-disposition": "contentDisposition",
        "content-encoding": "contentEncoding",
        "cache-control": "cacheControl",
    }
    return {field_: given[name] for name, field_ in names.items() if name in given}


def _describe(about: Mapping[str, Any]) -> dict[str, str]:
    return {
        "ETag": f'"{about["etag"]}"',
        "x-goog-generation": str(about["generation"]),
        "x-goog-hash": f"crc32c={about['crc32c']}" + (f",md5={about['md5Hash']}" if "md5Hash" in about else ""),
        "Accept-Ranges": "bytes",
    }


def _shown_as(about: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, str]:
    """What an object was stored with goes before what a link asks for."""
    shown = {"Content-Type": NO_TYPE if about.get("contentType") is None else str(about["contentType"])}
    if shown["Content-Type"] == NO_TYPE:
        shown["Content-Type"] = query.get("response-content-type", NO_TYPE)
    disposition = about.get("contentDisposition") or query.get("response-content-disposition")
    if disposition is not None:
        shown["Content-Disposition"] = str(disposition)
    for name, header in {"contentEncoding": "Content-Encoding", "cacheControl": "Cache-Control"}.items():
        if about.get(name):
            shown[header] = str(about[name])
    return shown


def _ranged(content: bytes, wanted: str | None, headers: dict[str, str]) -> Reply:
    found = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", wanted or "")
    if found is None or found[1] == found[2] == "":
        return Reply(200, content, headers)
    size = len(content)
    if found[1] == "":
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(size - 1, int(found[2] or size - 1))
    if first > last:
        return Reply(416, b"", {"Content-Range": f"bytes */{size}"})
    return Reply(206, content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{size}"})


def check_digests(headers: Mapping[str, str], body: bytes) -> None:
    """Hold a body to the digests that were said of it."""
    digests = [("md5", headers["content-md5"])] if "content-md5" in headers else []
    for pair in filter(None, headers.get("x-goog-hash", "").split(",")):
        name, _, value = pair.strip().partition("=")
        digests.append((name, value))
    for name, value in digests:
        digest = hashlib.md5(body).digest() if name == "md5" else google_crc32c.Checksum(body).digest()
        if base64.b64encode(digest).decode() != value:
            raise Refusal(400, "BadDigest")

"""What bytes may be taken for: every type that browsers show is recognised, and nothing passes for another."""

from __future__ import annotations

import io
import wave

import pytest
from PIL import Image

from gateway.sniffing import HEAD_BYTES, is_of_type
from gateway.storages.base import INLINE_TYPES


def image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(100))
    return buffer.getvalue()


def mp4(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x00\x00mp42isom" + bytes(64)


# Of types without an encoder here: the first bytes that their specifications give.
GENUINE: dict[str, bytes] = {
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "audio/aac": b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(64),
    "audio/flac": b"fLaC\x00\x00\x00\x22" + bytes(64),
    "audio/mp4": mp4(b"M4A "),
    "audio/mpeg": b"ID3\x03\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" + bytes(64),
    "audio/ogg": b"OggS\x00\x02" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(64),
    "audio/wav": sound(),
    "audio/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + bytes(64),
    "image/avif": mp4(b"avif"),
    "image/gif": image("GIF"),
    "image/jpeg": image("JPEG"),
    "image/png": image("PNG"),
    "image/webp": image("WEBP"),
    "text/plain": "Grüße, 日本語\n".encode(),
    "video/mp4": mp4(b"isom"),
    "video/ogg": b"OggS\x00\x02" + bytes(22) + b"\x80theora" + bytes(64),
    "video/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + bytes(64),
}
HOSTILE: dict[str, bytes] = {
    "html": b"<!doctype html><html><script>alert(1)</script>",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "script": b"#!/bin/sh\nrm -rf /\n",
    "program": b"MZ\x90\x00" + bytes(60) + b"PE\x00\x00" + bytes(64),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
    "archive": b"PK\x03\x04\x14\x00" + bytes(64),
    "nothing": b"",
    "zeros": bytes(64),
}


def test_every_type_that_browsers_show_has_an_example() -> None:
    assert set(GENUINE) == INLINE_TYPES


@pytest.mark.parametrize("content_type", GENUINE)
def test_what_is_of_a_type_is_taken_for_it(content_type: str) -> None:
    assert is_of_type(GENUINE[content_type], content_type, is_whole=True)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("content_type", sorted(INLINE_TYPES - {"text/plain"}))
def test_nothing_else_is_taken_for_what_browsers_show(content_type: str, content: bytes) -> None:
    assert not is_of_type(content, content_type, is_whole=True)


@pytest.mark.parametrize("content_type", sorted(GENUINE))
def test_one_type_is_not_taken_for_another(content_type: str) -> None:
    for other in ("image/png", "image/gif", "application/pdf"):
        if other != content_type:
            assert not is_of_type(GENUINE[content_type], other, is_whole=True)


@pytest.mark.parametrize("name", ["program", "elf", "zeros"])
def test_what_has_a_nul_is_no_text(name: str) -> None:
    assert not is_of_type(HOSTILE[name], "text/plain", is_whole=True)


def test_text_is_utf_8() -> None:
    assert not is_of_type("Grüße".encode("latin-1"), "text/plain", is_whole=True)
    assert is_of_type(b"", "text/plain; charset=utf-8", is_whole=True)


def test_a_character_may_be_cut_at_the_end_of_what_is_looked_at_and_nowhere_else() -> None:
    head = ("ü" * HEAD_BYTES).encode()[: HEAD_BYTES - 1]
    assert is_of_type(head, "text/plain", is_whole=False)
    assert not is_of_type(head, "text/plain", is_whole=True)
    assert not is_of_type(b"\xff" + head, "text/plain", is_whole=False)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-of-our-own"])
def test_a_type_without_signature_is_held_to_no_bytes(content_type: str) -> None:
    for content in HOSTILE.values():
        assert is_of_type(content, content_type, is_whole=True)

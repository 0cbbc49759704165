"""The MAC is HMAC-SHA256 for every key and text, however many sign with it at once, and shows nothing."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.mac import Mac


@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
@example(key=b"k" * 64, message=b"of one block")
@example(key=b"k" * 65, message=b"hashed first")
def test_it_is_hmac_sha256(key: bytes, message: bytes) -> None:
    mac = Mac(key)
    assert mac.digest(message) == hmac.digest(key, message, "sha256")
    assert mac.digest(message) == hmac.new(key, message, hashlib.sha256).digest()  # the key is still whole


def test_sixteen_threads_may_sign_at_once() -> None:
    key = b"a key of thirty-two bytes or so."
    mac = Mac(key)
    # Long ones too: hashing them, Python lets other threads run.
    messages = [bytes([number]) * (1 if number % 2 else 5000) for number in range(64)]
    with ThreadPoolExecutor(16) as threads:
        digests = list(threads.map(mac.digest, messages * 20))
    assert digests == [hmac.digest(key, message, "sha256") for message in messages] * 20


def test_neither_the_key_nor_what_is_made_of_it_can_be_seen_or_taken_along() -> None:
    mac = Mac(b"0123456789abcdef0123456789abcdef")
    assert "0123456789abcdef" not in f"{mac!r}{mac}"
    with pytest.raises(TypeError):
        pickle.dumps(mac)

"""RSA: what is signed verifies, what cannot sign is refused, and cryptography is only there when it is needed."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from providers import InvalidConfiguration
from providers.rsa import load_signer
from tests.providers import clouds


@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "bytes"])
@pytest.mark.parametrize("digest", ["SHA1", "SHA256"])
def test_what_is_signed_verifies(digest: Any, as_bytes: bool) -> None:
    sign = load_signer(clouds.PEM.encode() if as_bytes else clouds.PEM, digest=digest, name="private_key")
    for message in (b"", b"a", bytes(1000)):
        clouds.PRIVATE_KEY.public_key().verify(sign(message), message, padding.PKCS1v15(), getattr(hashes, digest)())


@pytest.mark.parametrize(("key", "piece"), clouds.BAD_KEYS.values(), ids=clouds.BAD_KEYS)
def test_a_key_that_cannot_sign_is_refused_and_not_shown(key: str, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        load_signer(key, digest="SHA256", name="private_key")
    assert str(refusal.value).startswith("private_key ")
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(InvalidConfiguration, match="private_key needs the package cryptography"):
        load_signer(clouds.PEM, digest="SHA256", name="private_key")

"""Issuers of JSON web tokens as tests want them: keys, key sets, an address that hands them out, tokens by hand.

Signs with cryptography alone, so that what is tested does not make its own evidence.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.emulators.token_endpoints import Question, Reply, TokenEndpoint

ISSUER = "https://id.example"
AUDIENCE = "files"
SECRET = "a secret of the tests that is long enough for every hash, 64 bytes"
ALGORITHM = "RS256"

_HASHES: dict[str, Any] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, Any] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _integer(value: int, length: int | None = None) -> str:
    return encoded(value.to_bytes(length or (value.bit_length() + 7) // 8))


@dataclass(frozen=True)
class SigningKey:
    """A private key with the name that its issuer gave it."""

    private: Any
    kid: str

    @property
    def public_pem(self) -> str:
        public = self.private.public_key()
        return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    @property
    def private_pem(self) -> str:
        return str(self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public key as a member of a key set."""
        public = self.private.public_key()
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = public.public_numbers()
            own = {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
        elif isinstance(self.private, ec.EllipticCurvePrivateKey):
            numbers = public.public_numbers()
            length = (public.key_size + 7) // 8
            curve = next(name for name, one in _CURVES.items() if one.name == public.curve.name)
            own = {"kty": "EC", "crv": curve, "x": _integer(numbers.x, length), "y": _integer(numbers.y, length)}
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            own = {"kty": "OKP", "crv": "Ed25519", "x": encoded(raw)}
        return {**own, "kid": self.kid, **members}

    def sign(self, algorithm: str, message: bytes) -> bytes:
        digest = _HASHES.get(algorithm[2:])
        match algorithm[:2]:
            case "RS":
                return bytes(self.private.sign(message, padding.PKCS1v15(), digest))
            case "PS":
                salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
                return bytes(self.private.sign(message, salted, digest))
            case "ES":
                r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(digest)))
                length = (self.private.key_size + 7) // 8
                return r.to_bytes(length) + s.to_bytes(length)
            case _:
                return bytes(self.private.sign(message))


@cache
def rsa_key(kid: str = "first", bits: int = 2048) -> SigningKey:
    return SigningKey(rsa.generate_private_key(65537, bits), kid)


@cache
def ec_key(curve: str = "P-256", kid: str = "curve") -> SigningKey:
    return SigningKey(ec.generate_private_key(_CURVES[curve]), kid)


@cache
def ed_key(kid: str = "edwards") -> SigningKey:
    return SigningKey(ed25519.Ed25519PrivateKey.generate(), kid)


def claims_of(subject: str = "alice-at-id", **changes: Any) -> dict[str, Any]:
    """Return good claims, with changes; ... leaves one out."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now - 10, "exp": now + 600, "jti": "one-token",
    } | changes  # fmt: skip
    return {name: value for name, value in claims.items() if value is not ...}


def document(value: Any) -> bytes:
    """Return JSON; bytes as they are."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def token(
    claims: Any = None,
    *,
    key: SigningKey | None = None,
    algorithm: str = ALGORITHM,
    header: Any = None,
    **more: Any,
) -> str:
    """Return a token that is signed as it should be, whatever its header and claims are.

    Args:
        claims: an object, or the bytes of what stands for it; good ones where None.
        header: the same; by default what fits, with ``more`` in it, where ... leaves a member out.
    """
    key = key or rsa_key()
    if header is None:
        header = {"alg": algorithm, "kid": key.kid, "typ": "JWT"} | more
        header = {name: value for name, value in header.items() if value is not ...}
    signed = f"{encoded(document(header))}.{encoded(document(claims_of() if claims is None else claims))}"
    return f"{signed}.{encoded(key.sign(algorithm, signed.encode()))}"


def with_secret(secret: bytes, claims: Any = None, *, algorithm: str = "HS256", **more: Any) -> str:
    """Return a token whose signature is an HMAC."""
    header = {"alg": algorithm, "typ": "JWT"} | more
    signed = f"{encoded(document(header))}.{encoded(document(claims_of() if claims is None else claims))}"
    digest = hmac.digest(secret, signed.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
    return f"{signed}.{encoded(digest)}"


def key_set(*keys: SigningKey | dict[str, Any]) -> dict[str, Any]:
    return {"keys": [key if isinstance(key, dict) else key.jwk() for key in keys]}


class KeyServer(TokenEndpoint):
    """The address of an issuer's key set.

    Attributes:
        keys: what it answers.
    """

    def __init__(self, *keys: SigningKey | dict[str, Any]) -> None:
        super().__init__()
        self.keys: tuple[SigningKey | dict[str, Any], ...] = keys

    @property
    def key_set_url(self) -> str:
        return f"{self.url}/keys?of=tests"

    def answer(self, question: Question) -> Reply:
        assert (question.method, question.path, dict(question.query)) == ("GET", "/keys", {"of": "tests"})
        return 200, {}, json.dumps(key_set(*self.keys)).encode()

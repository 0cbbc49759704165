"""Sign with an RSA private key that is parsed once.

Must not import cryptography before a key is asked for, and must never show a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from providers.errors import InvalidConfiguration

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["MIN_KEY_BITS", "load_signer"]

MIN_KEY_BITS = 2048  # what Google issues, and the least that CloudFront takes


def load_signer(pem: str | bytes, *, digest: Literal["SHA1", "SHA256"], name: str) -> Callable[[bytes], bytes]:
    """Parse a PEM key and return what signs with it: RSASSA-PKCS1-v1_5, a text in, a signature out.

    Args:
        name: of the configured value, for the error.

    Raises:
        InvalidConfiguration: it is no unencrypted RSA key of 2048 bits or more, or cryptography is missing.
    """
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding
    except ImportError:
        raise InvalidConfiguration(f"{name} needs the package cryptography, which is not installed") from None
    key = _load(pem, name)
    scheme, algorithm = padding.PKCS1v15(), getattr(hashes, digest)()

    def sign(data: bytes) -> bytes:
        return key.sign(data, scheme, algorithm)

    return sign


def _load(pem: str | bytes, name: str) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except Exception as error:  # whatever the parser raises: its text may quote the key
        raise InvalidConfiguration(f"{name} is no unencrypted PEM key ({type(error).__name__})") from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidConfiguration(f"{name} is of type {type(key).__name__}; an RSA key")
    if key.key_size < MIN_KEY_BITS:
        raise InvalidConfiguration(f"{name} is an RSA key of {key.key_size} bits; at least {MIN_KEY_BITS}")
    return key

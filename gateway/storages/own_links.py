"""Signers of links that lead to the gateway itself: to files of its own, or to parts that it passes on.

Each use and each alias has keys of its own, so that one's links are not another's. Must not touch a file.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.encoding import force_bytes

from gateway.conf import conf
from gateway.resources import alias_of
from providers.errors import InvalidConfiguration
from providers.local import MIN_SECRET_BYTES, LocalProvider, SecretKey

__all__ = ["make_signer", "project_keys", "surroundings"]


def surroundings() -> Any:
    """Return what signers are made of beside a storage's options: one that was made of the same is still good."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return conf(), get_urlconf() or settings.ROOT_URLCONF, get_script_prefix(), keys


def make_signer(storage: Any, address: str, keys: Sequence[SecretKey], *, use: str) -> LocalProvider:
    """Make what signs a storage's links to an address of ours, the name of one that takes an alias and a key.

    Args:
        use: what the links are for, in a word; keys of one use sign for no other.

    Raises:
        InvalidConfiguration: nothing leads there.
    """
    alias = alias_of(storage)
    try:
        base_url = conf().public_origin + reverse(address, kwargs={"alias": alias, "key": "k"})[:-1]
    except NoReverseMatch:
        raise InvalidConfiguration(
            f"no URL leads to files of {alias!r}: include gateway.urls, and name the alias with letters,"
            " digits, hyphens and underscores"
        ) from None
    label = f"presign-gateway {use} {alias}".encode()
    ring = [SecretKey(hmac.digest(key.secret, label, "sha256"), key.not_after) for key in keys]
    return LocalProvider(base_url=base_url, secret_keys=ring)


def project_keys() -> list[SecretKey]:
    """Return the keys of the project, of which links are signed where a storage has none of its own.

    Raises:
        InvalidConfiguration: one is too short.
    """
    keys = [force_bytes(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    if short := [len(key) for key in keys if len(key) < MIN_SECRET_BYTES]:
        raise InvalidConfiguration(
            f"SECRET_KEY or one of SECRET_KEY_FALLBACKS is {min(short)} bytes; local links need at least"
            f" {MIN_SECRET_BYTES}, or the option secret_keys"
        )
    return [SecretKey(key) for key in keys]

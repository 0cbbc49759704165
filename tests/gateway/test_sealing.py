"""What is sealed in a row opens for that row alone, by the keys that the service has now."""

from __future__ import annotations

from typing import Any

from gateway.sealing import seal, unseal


def test_it_opens_for_its_own_name() -> None:
    sealed = seal("secret", "upl_1")
    assert "secret" not in sealed
    assert unseal(sealed, "upl_1") == "secret"
    assert unseal(sealed, "upl_2") is None


def test_the_same_is_never_sealed_alike() -> None:
    assert seal("secret", "upl_1") != seal("secret", "upl_1")


def test_a_changed_one_does_not_open() -> None:
    sealed = seal("secret", "upl_1")
    for at in (10, 40, len(sealed) - 2):
        other = "A" if sealed[at] != "A" else "B"
        assert unseal(sealed[:at] + other + sealed[at + 1 :], "upl_1") is None
    assert unseal("", "upl_1") is None


def test_a_key_that_was_followed_still_opens_and_one_that_is_gone_does_not(settings: Any) -> None:
    sealed, old = seal("secret", "upl_1"), settings.SECRET_KEY
    settings.SECRET_KEY = "another" * 8
    assert unseal(sealed, "upl_1") is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert unseal(sealed, "upl_1") == "secret"
    assert unseal(seal("new", "upl_1"), "upl_1") == "new"

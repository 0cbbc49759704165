from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.terraform.commands import Applied
from tests.terraform.guarantees import GUARANTEES, broken
from tests.terraform.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_every_guarantee(variant: str, applied: Callable[[str], Applied]) -> None:
    assert broken(variant, applied(variant)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_with_nothing_in_it_keeps_none(variant: str) -> None:
    nothing = Applied((), {})
    trivial = {
        # What is not made is not wrong, either.
        "a role has only the policies listed here",
        "nothing is made but what is listed: no user, no key, no ACL, no website",
    }
    asked = {each.statement for each in GUARANTEES if variant.startswith(each.of)}
    assert asked - set(broken(variant, nothing)) <= trivial

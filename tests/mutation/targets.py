"""What is mutated, and the tests that mirror it: where a fault would open a file to somebody.

Must not name tests that need a server: their start would be paid for by every mutant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]

__all__ = ["ROOT", "TARGETS", "Target", "files_of"]

_LINKS = (
    "tests/gateway/test_links.py",
    "tests/gateway/test_policies.py",
    "tests/gateway/test_revocation.py",
    "tests/gateway/test_principals.py",
    "tests/gateway/test_audit.py",
    "tests/gateway/test_explanations.py",
    "tests/gateway/test_windows.py",
    "tests/gateway/delivery/test_signed_cookies.py",
    "tests/gateway/delivery/test_serving.py",
)
_POLICIES = ("tests/gateway/test_policies.py", "tests/gateway/test_links.py")
_AGE = (
    "tests/gateway/test_epochs.py",
    "tests/gateway/test_revocation.py",
    "tests/gateway/test_authentication.py",
    "tests/gateway/test_grants.py",
)
_TOKENS = ("tests/gateway/test_authentication.py", "tests/gateway/test_models.py", "tests/gateway/test_throttling.py")


@dataclass(frozen=True)
class Target:
    """A module, or the one class of it that counts, and its tests."""

    path: str
    tests: tuple[str, ...]
    only: str = ""

    def modules(self) -> list[str]:
        return [
            ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for file in sorted(ROOT.glob(self.path))
        ]

    def mutants(self, module: str) -> list[Mutant]:
        file = ROOT.joinpath(*module.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        return mutants_of(module, file, self.only)


TARGETS = (
    Target("gateway/policies/*.py", _POLICIES),
    Target("gateway/links/*.py", _LINKS),
    Target("gateway/tenants.py", _LINKS),
    Target("gateway/rows.py", ("tests/gateway/test_rows.py", "tests/gateway/test_links.py")),
    Target("gateway/revocation.py", _AGE),
    Target("gateway/epochs.py", _AGE),
    Target("gateway/authentication.py", _TOKENS),
    Target("gateway/models.py", _TOKENS, only="ApiToken"),
    Target("gateway/contrib/jwt/tokens.py", ("tests/gateway/contrib/test_jwt.py",)),
)


def files_of(targets: tuple[Target, ...]) -> list[str]:
    return sorted({test for target in targets for test in target.tests})

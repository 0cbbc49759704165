"""What holds for the whole of the gateway's source: one door to the signers, and a word for every room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
import providers

GATEWAY = Path(gateway.__file__).parent
PROVIDERS = Path(providers.__file__).parent
SIGNING = {"sign", "sign_many", "sign_cookies", "sign_restricted"}
DOOR = "links/signing.py"
# Not a provider's: Django's own signer, for the cursor of a page; google-auth's, which a credential is made of.
OF_OTHERS = {("api/cursors.py", "_signer().sign"), ("storages/gcs.py", "signer.sign")}


def signing_in(source: str) -> Iterator[str]:
    """Yield every use of a name that providers sign under: called, handed on, or looked up by text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if name in SIGNING:
                yield ast.unparse(node)
            case (
                ast.Call(func=ast.Name(id="getattr" | "attrgetter" | "methodcaller"))
                | ast.Call(func=ast.Attribute(attr="attrgetter" | "methodcaller"))
            ) if any(isinstance(arg, ast.Constant) and arg.value in SIGNING for arg in node.args):
                yield ast.unparse(node)
            case ast.MatchClass(kwd_attrs=names) if SIGNING & set(names):
                yield ast.unparse(node)


def sources(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.py"))}


def test_only_the_door_asks_a_provider_to_sign() -> None:
    elsewhere = {(name, use) for name, source in sources(GATEWAY).items() if name != DOOR for use in signing_in(source)}

    assert elsewhere == OF_OTHERS


def test_the_door_itself_asks_in_three_places() -> None:
    # A fourth would need its own word about what it decides and records.
    assert sorted(signing_in((GATEWAY / DOOR).read_text())) == [
        "provider.sign", "provider.sign_cookies", "provider.sign_many",
    ]  # fmt: skip


WAYS_ROUND = {
    "a call": ("storage.provider.sign(operation, ttl=ttl, now=now)", ["storage.provider.sign"]),
    "many": ("self.provider.sign_many([])", ["self.provider.sign_many"]),
    "handed on": ("signer = provider.sign", ["provider.sign"]),
    "in a partial": ("partial(provider.sign, ttl=ttl)", ["provider.sign"]),
    "by name": ("getattr(provider, 'sign')(operation)", ["getattr(provider, 'sign')"]),
    "by attrgetter": ("operator.attrgetter('sign_many')(provider)", ["operator.attrgetter('sign_many')"]),
    "by methodcaller": ("methodcaller('sign', operation)(provider)", ["methodcaller('sign', operation)"]),
    "through the class": ("S3Provider.sign(provider, operation)", ["S3Provider.sign"]),
    "deep within": ("class A:\n def f(self):\n  return [p().sign(o) for o in os]", ["p().sign"]),
    "by a pattern": ("match p:\n case S3Provider(sign=f): f(o)", ["S3Provider(sign=f)"]),
    "another word": ("provider.signature(sign)", []),
    "a definition": ("def sign(self): ...", []),
}


@pytest.mark.parametrize(("source", "found"), WAYS_ROUND.values(), ids=WAYS_ROUND)
def test_every_way_round_the_door_is_seen(source: str, found: list[str]) -> None:
    assert list(signing_in(source)) == found


def rooms() -> list[Path]:
    return [
        path
        for root in (GATEWAY, PROVIDERS)
        for path in sorted(root.rglob("*.py"))
        if "migrations" not in path.parts and path.read_text().strip()
    ]


@pytest.mark.parametrize("room", rooms(), ids=lambda path: path.relative_to(GATEWAY.parent).as_posix())
def test_every_room_says_what_it_is_for(room: Path) -> None:
    assert ast.get_docstring(ast.parse(room.read_text())), f"{room.name} has no docstring"

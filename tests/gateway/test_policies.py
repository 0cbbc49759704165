"""Policies: three values, and one answer however they are asked."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import DataError, InterfaceError, OperationalError, connection, models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext, isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import links
from gateway.errors import AccessDenied, DatabaseUnavailable
from gateway.models import File
from gateway.policies import (
    DEFAULT_POLICY,
    FILE_POLICY,
    OPERATIONS,
    Allow,
    And,
    Authenticated,
    Branch,
    Composable,
    Delete,
    Deny,
    Download,
    DownloadPrefix,
    Everyone,
    Failure,
    Fitting,
    Limits,
    ModelPermission,
    Not,
    ObjectPermission,
    Or,
    Owner,
    RowPolicy,
    Share,
    StaffOnly,
    Update,
    Upload,
    UploadForm,
    UploadPart,
    annotate_branch,
    branches_of,
    evaluate,
    evaluate_many,
    number_by_row,
    visible,
)
from gateway.principals import ANONYMOUS, SYSTEM, Principal
from gateway.resources import Resource, resolved
from providers.errors import InvalidKey
from tests.gateway.conftest import issuances, new_document, new_file, request_of
from tests.hostapp.models import Document, Minutes, Project

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_LIMITS = Limits()
WIDE = Limits(max_ttl=timedelta(seconds=60), dispositions=frozenset({"inline", "attachment"}), shareable=True)
NARROW = Limits(max_ttl=timedelta(seconds=30), until=NOW, dispositions=frozenset({"attachment"}))
OPERATION_OF: dict[type, Any] = {
    Download: Download,
    Upload: lambda key: Upload(key, content_type="image/png", size_bytes=1),
    UploadForm: lambda key: UploadForm(key, content_type="image/png", min_bytes=1, max_bytes=2),
    UploadPart: lambda key: UploadPart(key, upload_id="u", number=1, size_bytes=1),
    Delete: Delete,
    Update: Update,
    Share: Share,
    DownloadPrefix: DownloadPrefix,
}


def user_of(user: Any) -> Principal:
    return Principal(kind="user", user=user)


def resource_of(row: models.Model) -> Resource:
    found = resolved(Resource.of_file(row) if isinstance(row, File) else Resource.of_field(row, "file"), row)
    assert found is not None
    return found


def decide(policy: Any, principal: Principal, row: models.Model, kind: type = Download) -> Any:
    resource = resource_of(row)
    return evaluate(policy, principal, resource, OPERATION_OF[kind](resource.key))


# Leaves, each in two forms: as conditions on the row, and as nothing but decide().


@dataclass(frozen=True, eq=False)
class Leaf(Composable):
    """Decides by a rule in Python."""

    name: str
    rule: Callable[[Principal, Document], Any]
    limits: Limits = NO_LIMITS

    def __str__(self) -> str:
        return self.name

    def decide(self, principal: Principal, resource: Resource, operation: Any) -> Any:
        answer = self.rule(principal, resource.instance)  # type: ignore[arg-type]
        if isinstance(answer, Exception):
            raise answer
        return (Allow(self.limits) if answer else Deny("no")) if type(answer) is bool else answer


@dataclass(frozen=True, eq=False)
class Compiled(RowPolicy):
    """Decides by a condition that says the same."""

    name: str
    condition: Callable[[Principal], Any]
    limits: Limits = NO_LIMITS

    def __str__(self) -> str:
        return self.name

    def branches(self, principal: Principal, operation: type, model: Any) -> Any:
        condition = self.condition(principal)
        if isinstance(condition, Exception):
            raise condition
        if callable(condition):
            return [Branch(Q(), Allow(self.limits), condition)]
        return [Branch(condition, Allow(self.limits))] if isinstance(condition, Q) else condition


def owns(principal: Principal, row: Document) -> bool:
    return principal.kind == "user" and row.owner_id == principal.user.pk


def is_called_as_its_project(principal: Principal, row: Document) -> bool:
    return row.project is not None and row.title == row.project.name.lower()


def has_title_a(principal: Principal, row: Document) -> bool:
    return row.title == "a"


def breaks() -> bool:
    raise ZeroDivisionError


# name, rule in Python, condition in SQL, or question about the principal
RULES: list[tuple[str, Any, Any]] = [
    ("always", lambda p, r: True, lambda p: Q()),
    ("never", lambda p, r: False, lambda p: []),
    ("nothing", lambda p, r: False, lambda p: Q(pk__in=[])),
    ("owner", owns, lambda p: Q(owner=p.user) if p.kind == "user" else []),
    ("title", has_title_a, lambda p: Q(title="a")),
    # Null where there is no project: neither true nor false.
    ("namesake", is_called_as_its_project, lambda p: Q(title=Lower(F("project__name")))),
    ("same name", lambda p, r: r.project is not None and r.title == r.project.name,
     lambda p: Q(title=F("project__name"))),
    ("no owner", lambda p, r: r.owner_id is None, lambda p: Q(owner=None)),
    ("whole", lambda p, r: True, lambda p: Q(Q(), Q())),
    ("question, yes", lambda p, r: True, lambda p: lambda: True),
    ("question, no", lambda p, r: False, lambda p: lambda: False),
    ("broken", lambda p, r: ZeroDivisionError(), lambda p: ZeroDivisionError()),
    ("yes-man", lambda p, r: "yes", lambda p: [Branch(Q(), "yes")]),  # type: ignore[arg-type]
    ("forgetful", lambda p, r: None, lambda p: [None]),
    ("opposite of nothing", lambda p, r: TypeError(), lambda p: ~Q()),
    ("opposite of nothing within", lambda p, r: TypeError(), lambda p: Q(Q(), ~Q(Q()))),
    ("question that breaks", lambda p, r: ZeroDivisionError(), lambda p: breaks),
    ("question, odd", lambda p, r: "yes", lambda p: lambda: "yes"),
    ("wrong column", lambda p, r: KeyError("column"), lambda p: Q(nothing=1)),
]  # fmt: skip
LIMITS = [Limits(), WIDE, NARROW]


Wanted = Callable[[Principal, Document], Any]  # Allow, "deny" or "failure"


def wanted_of_leaf(rule: Callable[[Principal, Document], Any], limits: Limits, name: str) -> Wanted:
    def wanted(principal: Principal, row: Document) -> Any:
        answer = rule(principal, row)
        if type(answer) is not bool:
            return "failure"
        return Allow(limits, name) if answer else "deny"

    return wanted


def wanted_of_and(one: Wanted, other: Wanted) -> Wanted:
    def wanted(principal: Principal, row: Document) -> Any:
        answers = one(principal, row), other(principal, row)
        for absorbing in ("failure", "deny"):
            if absorbing in answers:
                return absorbing
        left, right = answers
        return Allow(left.limits & right.limits, f"({left.policy} & {right.policy})")

    return wanted


def wanted_of_or(one: Wanted, other: Wanted) -> Wanted:
    def wanted(principal: Principal, row: Document) -> Any:
        answers = one(principal, row), other(principal, row)
        allows = [answer for answer in answers if isinstance(answer, Allow)]
        return allows[0] if allows else "failure" if "failure" in answers else "deny"

    return wanted


def wanted_of_not(one: Wanted, name: str) -> Wanted:
    def wanted(principal: Principal, row: Document) -> Any:
        answer = one(principal, row)
        return "deny" if isinstance(answer, Allow) else Allow(Limits(), name) if answer == "deny" else "failure"

    return wanted


SOUND = RULES[: [name for name, _, _ in RULES].index("broken")]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3, *, leaves: Any = SOUND, as_query: Any = None) -> tuple[Any, Wanted]:
    """A policy, and an oracle that says what it must answer."""
    kind = draw(st.sampled_from(["leaf", "and", "or", "not"] if depth else ["leaf"]))
    if kind == "leaf":
        name, rule, condition = draw(st.sampled_from(leaves))
        limits = draw(st.sampled_from(LIMITS))
        is_query = draw(st.booleans()) if as_query is None else as_query
        policy = Compiled(name, condition, limits) if is_query else Leaf(name, rule, limits)
        return policy, wanted_of_leaf(rule, limits, name)
    below = expressions(depth - 1, leaves=leaves, as_query=as_query)
    one, one_wanted = draw(below)
    if kind == "not":
        return ~one, wanted_of_not(one_wanted, str(~one))
    other, other_wanted = draw(below)
    if kind == "and":
        return one & other, wanted_of_and(one_wanted, other_wanted)
    return one | other, wanted_of_or(one_wanted, other_wanted)


def answer_of(decided: Any) -> Any:
    """Bring an answer into the oracle's words."""
    match decided:
        case Allow():
            return decided
        case Deny():
            return "deny"
        case Failure():
            return "failure"
    raise AssertionError(f"{decided!r} is no answer")


def door_of(policy: Any, principal: Principal, row: models.Model) -> Any:
    """Ask as the gateway does."""
    try:
        return links.authorize(principal, Resource.of_field(row, "file"), Download)
    except AccessDenied:
        return "refused"


def refusal_of(wanted: Any) -> Any:
    return wanted if isinstance(wanted, Allow) else "refused"


@pytest.fixture
def policy_of_documents(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda policy: monkeypatch.setattr(Document._meta.get_field("file"), "policy", policy)


@pytest.fixture
def rows(alice: Any, bob: Any) -> list[Document]:
    project = Project.objects.create(name="a")
    loud = Project.objects.create(name="A")
    return [
        new_document(alice, title="a"),
        new_document(alice, title="a", project=project),
        new_document(bob, title="a", project=loud),
        new_document(bob, title="b", project=project),
        new_document(None, title="a"),
        new_document(None, title="", project=loud),
    ]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    # Wholly a query most often: one part that is none, or fails, leaves nothing to compare.
    expression=st.one_of(
        expressions(as_query=True), expressions(as_query=True), expressions(), expressions(leaves=RULES),
        expressions(leaves=RULES, as_query=True),
    ),
    anonymous=st.booleans(),
)  # fmt: skip
def test_every_way_of_asking_gives_the_answer_of_the_truth_table(
    rows: list[Document],
    alice: Any,
    policy_of_documents: Callable[[Any], None],
    expression: tuple[Any, Wanted],
    anonymous: bool,
) -> None:
    policy, oracle = expression
    principal = ANONYMOUS if anonymous else user_of(alice)
    wanted = [oracle(principal, row) for row in rows]
    policy_of_documents(policy)
    logging.disable(logging.CRITICAL)
    try:
        resources = [resource_of(row) for row in rows]
        operations = [Download(str(resource.key)) for resource in resources]

        one_by_one = [evaluate(policy, principal, *about) for about in zip(resources, operations, strict=True)]
        together = evaluate_many(policy, principal, resources, operations)
        with request_of(alice):
            at_the_door = [door_of(policy, principal, row) for row in rows]
        as_query = compiled(policy, principal, rows)
        seen = seen_through(policy, principal)
    finally:
        logging.disable(logging.NOTSET)

    assert list(map(answer_of, one_by_one)) == wanted
    assert list(map(answer_of, together)) == wanted
    assert at_the_door == list(map(refusal_of, wanted))
    assert as_query in (None, list(map(refusal_of, wanted)))
    assert seen in (None, {row.pk for row, answer in zip(rows, wanted, strict=True) if isinstance(answer, Allow)})


def compiled(policy: Any, principal: Principal, rows: Sequence[Document]) -> list[Any] | None:
    """Ask in one statement; None where the policy cannot be said so."""
    try:
        branches = branches_of(policy, principal, Download, Document)
        if branches is None:
            return None
        numbers = dict(annotate_branch(Document.objects.all(), branches).values_list("pk", "gateway_branch"))
        number_of = number_by_row(Document, branches)
        assert number_of is None or {row.pk: number_of(row) for row in Document.objects.all()} == numbers
        fitting = Fitting(branches)
        found = [fitting.branch(numbers[row.pk]) for row in rows]
    except Exception:
        return None  # asked one by one instead
    return ["refused" if branch is None else branch.allow for branch in found]


# a condition on a document, and whether the row alone answers it, without help of the query
COMPARED: dict[str, tuple[Callable[[Any], Q], bool]] = {
    "owner": (lambda user: Q(owner=user), True),
    "owner by name of the column": (lambda user: Q(owner_id=user.pk), True),
    "owner by number": (lambda user: Q(owner=user.pk), True),
    "key": (lambda _: Q(pk=1), False),
    "key by its name": (lambda _: Q(id=1), True),
    "number as text": (lambda user: Q(owner_id=str(user.pk)), False),
    "truth": (lambda _: Q(owner_id=True), False),
    "nobody": (lambda _: Q(owner=None), False),
    "one of several": (lambda user: Q(owner_id__in=[user.pk]), False),
    "text": (lambda _: Q(title="a"), False),
    "the opposite": (lambda user: ~Q(owner=user), False),
    "two conditions": (lambda user: Q(owner=user, id=1), False),
    "one of two": (lambda user: Q(owner=user) | Q(id=1), False),
    "another table": (lambda user: Q(owner__pk=user.pk), False),
    "exists": (lambda _: Q(Exists(Document.objects.filter(pk=OuterRef("pk")))), False),
}


@pytest.mark.parametrize(("condition", "is_compared"), COMPARED.values(), ids=COMPARED)
def test_what_the_row_itself_answers_is_what_the_query_would(
    rows: list[Document], alice: Any, condition: Callable[[Any], Q], is_compared: bool
) -> None:
    branches = [Branch(Q(id=rows[-1].pk), Allow()), Branch(condition(alice), Allow())]
    number_of = number_by_row(Document, branches)
    assert (number_of is not None) == is_compared
    computed = annotate_branch(Document.objects.all(), branches).values_list("pk", "gateway_branch")
    assert number_of is None or {row.pk: number_of(row) for row in Document.objects.all()} == dict(computed)


def test_an_owner_is_of_the_model_that_owns(alice: Any) -> None:
    document = Document(pk=alice.pk)
    branches = [Branch(Q(owner=document), Allow())]
    assert number_by_row(Document, branches) is None
    with pytest.raises(ValueError, match="Must be"):
        annotate_branch(Document.objects.all(), branches)


def seen_through(policy: Any, principal: Principal) -> set[Any] | None:
    try:
        queryset = visible(policy, principal, Document.objects.all(), Download)
        if queryset is None:
            return None
        pks = list(queryset.values_list("pk", flat=True))
    except Exception:
        return None
    assert len(pks) == len(set(pks)), "a row is listed twice"
    return set(pks)


@pytest.mark.parametrize("rule", SOUND, ids=lambda rule: rule[0])
def test_a_sound_policy_is_really_asked_as_a_query(rows: list[Document], alice: Any, rule: Any) -> None:
    # Else the property above would compare nothing.
    name, _, condition = rule
    for policy in (leaf := Compiled(name, condition), ~leaf, leaf & ~leaf, leaf | ~leaf):
        assert compiled(policy, user_of(alice), rows) is not None
        assert seen_through(policy, user_of(alice)) is not None


def rule_of(name: str, *, as_query: bool, limits: Limits = WIDE) -> Any:
    _, rule, condition = next(rule for rule in RULES if rule[0] == name)
    return Compiled(name, condition, limits) if as_query else Leaf(name, rule, limits)


@pytest.mark.parametrize("as_query", [True, False], ids=["compiled", "evaluated"])
def test_the_opposite_of_what_is_null_is_the_opposite_of_a_deny(
    alice: Any, policy_of_documents: Any, as_query: bool
) -> None:
    policy = ~rule_of("namesake", as_query=as_query)
    row = new_document(alice, title="a")  # has no project, so nothing that its title could equal
    policy_of_documents(policy)

    assert door_of(policy, user_of(alice), row) == Allow(policy="~namesake")
    assert seen_through(policy, user_of(alice)) == ({row.pk} if as_query else None)


@pytest.mark.parametrize(
    "broken",
    ["broken", "wrong column", "opposite of nothing", "yes-man", "question that breaks", "question, odd"],
)
@pytest.mark.parametrize("is_left", [True, False], ids=["left", "right"])
def test_a_failure_beside_a_deny_is_not_turned_into_an_allow(
    alice: Any, policy_of_documents: Any, broken: str, is_left: bool
) -> None:
    failing, denying = rule_of(broken, as_query=True), rule_of("never", as_query=True)
    policy = ~(failing & denying if is_left else denying & failing)
    policy_of_documents(policy)

    assert door_of(policy, user_of(alice), new_document(alice)) == "refused"


@pytest.mark.parametrize("broken", ["broken", "wrong column", "question that breaks", "question, odd"])
@pytest.mark.parametrize("is_left", [True, False], ids=["left", "right"])
def test_a_failure_leaves_the_other_side_its_say(
    alice: Any, policy_of_documents: Any, broken: str, is_left: bool
) -> None:
    failing, owning = rule_of(broken, as_query=True), rule_of("owner", as_query=True)
    policy = failing | owning if is_left else owning | failing
    policy_of_documents(policy)

    assert door_of(policy, user_of(alice), new_document(alice)) == Allow(WIDE, "owner")
    assert door_of(policy, user_of(alice), new_document(None)) == "refused"


@pytest.mark.parametrize("owns", [True, False], ids=["owner", "stranger"])
def test_a_question_is_asked_only_where_no_branch_before_it_fits(
    alice: Any, policy_of_documents: Any, owns: bool
) -> None:
    asked = []

    def question() -> bool:
        asked.append(1)
        return True

    policy = rule_of("owner", as_query=True) | Compiled("question", lambda principal: question, NARROW)
    policy_of_documents(policy)
    resources = [Resource.of_field(new_document(alice if owns else None), "file") for _ in range(3)]

    with request_of(alice):
        answers = [links.authorize(user_of(alice), resources[0], Download).policy]
        assert len(asked) == (0 if owns else 1)
        links.allowed(user_of(alice), resources)

    assert answers == ["owner" if owns else "question"]
    assert len(asked) == (0 if owns else 2)  # once for each time that the door is asked


def test_a_question_that_is_answered_no_leaves_what_comes_after_it_its_say(
    alice: Any, policy_of_documents: Any
) -> None:
    policy = rule_of("question, no", as_query=True) | rule_of("owner", as_query=True)
    policy_of_documents(policy)

    assert door_of(policy, user_of(alice), new_document(alice)) == Allow(WIDE, "owner")
    assert door_of(policy, user_of(alice), new_document(None)) == "refused"


# The truth table. A: Allow, D: Deny, F: Failure.

AND = {"AA": "A", "AD": "D", "AF": "F", "DA": "D", "DD": "D", "DF": "F", "FA": "F", "FD": "F", "FF": "F"}
OR = {"AA": "A", "AD": "A", "AF": "A", "DA": "A", "DD": "D", "DF": "F", "FA": "A", "FD": "F", "FF": "F"}
NOT = {"A": "D", "D": "A", "F": "F"}
IN_RULES = {"A": "always", "D": "never", "F": "broken"}
FORMS = {"compiled": (True, True), "evaluated": (False, False), "left": (True, False), "right": (False, True)}


def leaf_of(letter: str, *, as_query: bool, limits: Limits = WIDE) -> Any:
    return rule_of(IN_RULES[letter], as_query=as_query, limits=limits)


def letter_of(decided: Any) -> str:
    return {Allow: "A", Deny: "D", Failure: "F"}[type(decided)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("pair", AND)
def test_truth_table_of_and(alice: Any, pair: str, form: tuple[bool, bool]) -> None:
    left, right = (leaf_of(letter, as_query=q) for letter, q in zip(pair, form, strict=True))

    decided = decide(left & right, user_of(alice), new_document(alice))

    assert letter_of(decided) == AND[pair]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("pair", OR)
def test_truth_table_of_or(alice: Any, pair: str, form: tuple[bool, bool]) -> None:
    left, right = (leaf_of(letter, as_query=q) for letter, q in zip(pair, form, strict=True))

    decided = decide(left | right, user_of(alice), new_document(alice))

    assert letter_of(decided) == OR[pair]


@pytest.mark.parametrize("as_query", [True, False], ids=["compiled", "evaluated"])
@pytest.mark.parametrize("letter", NOT)
def test_truth_table_of_not(alice: Any, letter: str, as_query: bool) -> None:
    decided = decide(~leaf_of(letter, as_query=as_query), user_of(alice), new_document(alice))

    assert letter_of(decided) == NOT[letter]


@pytest.mark.parametrize("as_query", [True, False], ids=["compiled", "evaluated"])
def test_twice_not_is_not_the_same_as_nothing(alice: Any, as_query: bool) -> None:
    # The limits and the name are gone: ~~ says that nobody denied.
    policy = ~~leaf_of("A", as_query=as_query)

    assert decide(policy, user_of(alice), new_document(alice)) == Allow(Limits(), "~~always")


def test_de_morgan_does_not_hold_where_something_fails(alice: Any) -> None:
    row, principal = new_document(alice), user_of(alice)
    failing, denying = leaf_of("F", as_query=False), leaf_of("D", as_query=False)

    assert letter_of(decide(~(failing & denying), principal, row)) == "F"
    assert letter_of(decide(~failing | ~denying, principal, row)) == "A"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_both_limits_hold_where_both_are_needed(alice: Any, form: tuple[bool, bool]) -> None:
    left, right = leaf_of("A", as_query=form[0]), leaf_of("A", as_query=form[1], limits=NARROW)

    for policy in (left & right, right & left):
        assert decide(policy, user_of(alice), new_document(alice)) == Allow(
            Limits(max_ttl=timedelta(seconds=30), until=NOW, dispositions=frozenset({"attachment"})),
            "(always & always)",
        )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_first_that_allows_lends_its_limits_alone(alice: Any, form: tuple[bool, bool]) -> None:
    left, right = leaf_of("A", as_query=form[0]), leaf_of("A", as_query=form[1], limits=NARROW)
    denying = leaf_of("D", as_query=form[0])

    assert decide(left | right, user_of(alice), new_document(alice)).limits == WIDE
    assert decide(right | left, user_of(alice), new_document(alice)).limits == NARROW
    assert decide(denying | right, user_of(alice), new_document(alice)).limits == NARROW


def test_a_failure_beside_one_that_allows_is_logged(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    decide(leaf_of("F", as_query=False) | leaf_of("D", as_query=False), user_of(alice), new_document(alice))
    assert "beside one that allows" not in caplog.text
    decide(leaf_of("F", as_query=False) | leaf_of("A", as_query=False), user_of(alice), new_document(alice))

    assert "a policy failed beside one that allows: ZeroDivisionError" in caplog.text


def test_the_second_is_not_asked_where_the_first_allows(alice: Any) -> None:
    asked = []
    policy = leaf_of("A", as_query=False) | Leaf("second", lambda principal, row: asked.append(row))
    rows = [new_document(alice), new_document(alice)]
    resources = [resource_of(row) for row in rows]

    assert letter_of(decide(policy, user_of(alice), rows[0])) == "A"
    decided = evaluate_many(policy, user_of(alice), resources, [Download(str(r.key)) for r in resources])
    assert [letter_of(answer) for answer in decided] == ["A", "A"]
    assert asked == []


def test_operators_print() -> None:
    policy = Owner("owner") & ~StaffOnly() | ModelPermission("view")

    assert isinstance(policy, Or)
    assert isinstance(policy.left, And)
    assert isinstance(policy.left.right, Not)
    assert str(policy) == "((Owner('owner') & ~StaffOnly) | ModelPermission('view'))"
    assert str(DEFAULT_POLICY) == "ModelPermission('view')"


# Answers that are none.

WRONG = {
    "True": True, "False": False, "None": None, "text": "yes", "number": 1, "class": Allow, "tuple": (Allow(),),
    "failure": Failure(ValueError()), "allow within a text": Allow("60"),  # type: ignore[arg-type]
    "allow within None": Allow(None),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_any_other_answer_is_a_failure_and_so_a_refusal(
    alice: Any, policy_of_documents: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Leaf("odd", lambda principal, row: answer if type(answer) is not bool else [answer])
    row = new_document(alice)
    policy_of_documents(policy)

    assert isinstance(decide(policy, user_of(alice), row), Failure)
    assert isinstance(decide(~policy, user_of(alice), row), Failure)
    assert door_of(policy, user_of(alice), row) == "refused"
    assert "a policy failed about" in caplog.text
    assert [row.reason for row in issuances()] == ["the policy failed: TypeError"]


@pytest.mark.parametrize("answer", [True, False], ids=repr)
def test_a_bare_truth_value_is_no_answer(alice: Any, answer: bool) -> None:
    class Naive:
        def decide(self, *_: Any) -> Any:
            return answer

    assert isinstance(decide(Naive(), user_of(alice), new_document(alice)), Failure)


def test_a_combinator_of_a_hosts_own_that_answers_anything_else_allows_nobody(
    alice: Any, policy_of_documents: Any
) -> None:
    class Talkative(Not):
        def branches(self, *_: Any) -> Any:
            return None

        def evaluate_many(self, principal: Any, resources: Any, operations: Any) -> Any:
            return ["yes" for _ in resources]

    policy_of_documents(Talkative(Everyone()))

    assert door_of(Talkative(Everyone()), user_of(alice), new_document(alice)) == "refused"
    assert [row.reason for row in issuances()] == ["the policy answered str"]


BAD_BRANCHES = {
    "answer that is True": [Branch(Q(), True)],  # type: ignore[arg-type]
    "answer that is a Deny": [Branch(Q(pk__gte=0), Deny())],  # type: ignore[arg-type]
    "condition that is True": [Branch(True, Allow())],  # type: ignore[arg-type]
    "condition that is no query": [Branch(Q(nothing=1), Allow())],
    "condition and question": [Branch(Q(pk__gte=0), Allow(), lambda: True)],
    "question that is answered by a number": [Branch(Q(), Allow(), lambda: 1)],  # type: ignore[arg-type,return-value]
    "question that is none": [Branch(Q(), Allow(), True)],  # type: ignore[arg-type]
    "limits that are none": [Branch(Q(pk__gte=0), Allow("60"))],  # type: ignore[arg-type]
    "tuple": [(Q(), Allow())],
    "True": True,
    "None in a list": [None],
}


@pytest.mark.parametrize("answer", BAD_BRANCHES.values(), ids=BAD_BRANCHES)
def test_branches_that_are_none_allow_nobody(
    alice: Any, policy_of_documents: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = new_document(alice)
    for policy in (Compiled("odd", lambda principal: answer), ~~Compiled("odd", lambda principal: answer)):
        policy_of_documents(policy)

        assert door_of(policy, user_of(alice), row) == "refused"


@pytest.mark.parametrize(
    ("branch", "name"), [((Q(), Allow()), "tuple"), (Branch(True, Allow()), "Branch"), (None, "NoneType")],  # type: ignore[arg-type]
    ids=["tuple", "condition that is True", "None"],
)  # fmt: skip
def test_a_branch_that_is_none_is_said(alice: Any, branch: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^odd has a branch that is {name}; Branch\(Q, Allow\)$"):
        branches_of(Compiled("odd", lambda principal: [branch]), user_of(alice), Download, Document)


@pytest.mark.parametrize("model", [Document, None], ids=["of rows", "of bare keys"])
def test_the_opposite_of_everything_is_nothing_and_of_nothing_everything(model: type[models.Model] | None) -> None:
    assert branches_of(~Everyone(), ANONYMOUS, Download, model) == []
    assert branches_of(~StaffOnly(), ANONYMOUS, Download, model) == [Branch(Q(), Allow(policy="~StaffOnly"))]


def test_who_is_denied_whatever_the_row_costs_no_query(alice: Any, django_assert_num_queries: Any) -> None:
    row = new_document(alice)

    with django_assert_num_queries(0):
        assert letter_of(decide(StaffOnly(), user_of(alice), row)) == "D"


def test_a_condition_on_a_row_fits_no_bare_key() -> None:
    titled, resource = rule_of("title", as_query=True), Resource.of_key("private", "uploads/a")

    for policy, letter in ((titled, "D"), (titled & Everyone(), "D"), (~titled, "A"), (~(titled & StaffOnly()), "A")):
        assert letter_of(evaluate(policy, ANONYMOUS, resource, Download("uploads/a"))) == letter
    assert branches_of(titled & StaffOnly(), ANONYMOUS, Download, None) == []
    assert branches_of(~titled, ANONYMOUS, Download, None) == [Branch(Q(), Allow(policy="~title"))]


def test_a_policy_on_rows_that_cannot_say_itself_denies(alice: Any) -> None:
    assert letter_of(decide(Compiled("odd", lambda principal: None), user_of(alice), new_document(alice))) == "D"


def test_each_object_has_an_operation(alice: Any) -> None:
    resources = [resource_of(new_document(alice)) for _ in range(2)]

    with pytest.raises(ValueError, match="zip"):
        evaluate_many(Leaf("own", owns), user_of(alice), resources, [Download(str(resources[0].key))])


def test_a_policy_without_decide_is_a_failure(alice: Any) -> None:
    assert isinstance(decide(object(), user_of(alice), new_document(alice)), Failure)


@pytest.mark.parametrize("answers", [[], [Allow()], [Allow()] * 3, None, 5], ids=["0", "1", "3", "None", "number"])
def test_answers_to_another_number_of_questions_are_failures(alice: Any, answers: Any) -> None:
    class Careless:
        def decide_many(self, *_: Any) -> Any:
            return answers

    resources = [resource_of(new_document(alice)) for _ in range(2)]

    decided = evaluate_many(Careless(), user_of(alice), resources, [Download(str(r.key)) for r in resources])

    assert [letter_of(answer) for answer in decided] == ["F", "F"]


def test_one_odd_answer_of_many_fails_alone(alice: Any) -> None:
    class Mixed:
        def decide_many(self, *_: Any) -> Any:
            return [Allow(), "yes", Deny()]

        def __str__(self) -> str:
            return "Mixed"

    resources = [resource_of(new_document(alice)) for _ in range(3)]

    decided = evaluate_many(Mixed(), user_of(alice), resources, [Download(str(r.key)) for r in resources])

    assert [letter_of(answer) for answer in decided] == ["A", "F", "D"]
    assert decided[0] == Allow(policy="Mixed")


# The database is away: neither yes nor no.


@pytest.mark.parametrize("error", [OperationalError, InterfaceError], ids=lambda e: e.__name__)
@pytest.mark.parametrize(
    "wrap",
    [lambda p: p, lambda p: ~p, lambda p: p & Everyone(), lambda p: p | Everyone(), lambda p: Everyone() & p],
    ids=["alone", "not", "and", "or", "and after"],
)
@pytest.mark.parametrize("form", ["decide", "decide_many", "branches", "branches alone", "question"])
def test_a_database_that_is_away_is_no_answer(
    alice: Any, policy_of_documents: Any, error: type[Exception], wrap: Any, form: str
) -> None:
    class Away(Composable):
        def decide(self, *_: Any) -> Any:
            raise error("connection refused")

    if form == "decide_many":
        Away.decide_many = Away.decide  # type: ignore[attr-defined]
    if form.startswith("branches"):
        Away.branches = Away.decide  # type: ignore[attr-defined]
    if form == "branches alone":
        Away.decide = lambda *_: Allow()  # type: ignore[method-assign]
    if form == "question":
        Away.branches = lambda self, *_: [Branch(Q(), Allow(), self.decide)]  # type: ignore[attr-defined]
    policy_of_documents(wrap(Away()))

    with pytest.raises(DatabaseUnavailable) as unavailable:
        links.authorize(user_of(alice), Resource.of_field(new_document(alice), "file"), Download)

    assert unavailable.value.status == 503
    assert issuances() == []


def test_a_wrong_query_of_a_policy_is_its_failure_and_not_an_outage(alice: Any) -> None:
    def wrong(principal: Principal, row: Document) -> Any:
        raise DataError("numeric field overflow")

    assert isinstance(decide(Leaf("wrong", wrong), user_of(alice), new_document(alice)), Failure)


@pytest.mark.parametrize(
    ("policy", "letters"),
    [(Everyone(), "AAAA"), (StaffOnly(), "DDDD"), (Owner("owner"), "ADAD"), (DEFAULT_POLICY, "DDDD"),
     (~Owner("owner"), "DADA")],
    ids=str,
)  # fmt: skip
def test_rows_of_several_models_are_answered_each_in_its_place(alice: Any, bob: Any, policy: Any, letters: str) -> None:
    rows = [new_document(alice), new_file(bob), new_file(alice), new_document(bob)]
    resources = [resource_of(row) for row in rows]

    decided = evaluate_many(policy, user_of(alice), resources, [Download(str(one.key)) for one in resources])

    assert "".join(map(letter_of, decided)) == letters


# Limits.

BAD_LIMITS: dict[str, dict[str, Any]] = {
    "ttl of 0 s": {"max_ttl": timedelta(0)},
    "negative ttl": {"max_ttl": timedelta(seconds=-1)},
    "half a second": {"max_ttl": timedelta(seconds=1.5)},
    "ttl that is a number": {"max_ttl": 60},
    "naive end": {"until": datetime(2026, 1, 1)},  # noqa: DTZ001
    "end that is a text": {"until": "2026-01-01"},
    "unknown disposition": {"dispositions": frozenset({"form-data"})},
    "one disposition as text": {"dispositions": "inline"},
    "list of dispositions": {"dispositions": ["inline"]},
    "shareable that is a number": {"shareable": 1},
}


@pytest.mark.parametrize("limits", BAD_LIMITS.values(), ids=BAD_LIMITS)
def test_a_limit_that_could_not_be_held_fails_where_it_is_said(alice: Any, limits: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(limits))):
        Limits(**limits)

    policy = Leaf("limiting", lambda principal, row: Allow(Limits(**limits)))
    assert isinstance(decide(policy, user_of(alice), new_document(alice)), Failure)


def test_nothing_is_limited_and_nothing_shared_unless_it_is_said() -> None:
    limits = Limits()

    assert (limits.max_ttl, limits.until, limits.dispositions, limits.shareable) == (None, None, None, False)


def limits_strategy() -> st.SearchStrategy[Limits]:
    return st.builds(
        Limits,
        max_ttl=st.none() | st.integers(1, 100).map(lambda s: timedelta(seconds=s)),
        until=st.none() | st.integers(1, 100).map(lambda s: NOW + timedelta(seconds=s)),
        dispositions=st.none() | st.frozensets(st.sampled_from(["inline", "attachment"])),
        shareable=st.booleans(),
    )


@given(limits_strategy(), limits_strategy(), limits_strategy())
def test_the_tightest_of_limits_is_commutative_associative_and_idempotent(a: Limits, b: Limits, c: Limits) -> None:
    assert a & b == b & a
    assert (a & b) & c == a & (b & c)
    assert a & a == a
    assert a & Limits(shareable=True) == a


@given(limits_strategy(), limits_strategy())
def test_both_limits_are_never_wider_than_one(a: Limits, b: Limits) -> None:
    both = a & b

    for one in (a, b):
        assert one.max_ttl is None or (both.max_ttl is not None and both.max_ttl <= one.max_ttl)
        assert one.until is None or (both.until is not None and both.until <= one.until)
        assert one.dispositions is None or both.dispositions <= one.dispositions  # type: ignore[operator]
        assert one.shareable or not both.shareable


# ModelPermission.

ACTIONS = {
    Download: "view", Update: "change", Delete: "delete", Share: "share",
    Upload: "add", UploadForm: "add", UploadPart: "add", DownloadPrefix: None,
}  # fmt: skip


def grant(user: Any, codename: str) -> Any:
    user.user_permissions.add(Permission.objects.get(codename=codename))
    return type(user).objects.get(pk=user.pk)


@pytest.mark.parametrize("asked", OPERATIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("granted", ["view", "change", "delete", "add", "share"])
def test_one_permission_is_good_for_its_own_operation_alone(alice: Any, granted: str, asked: type) -> None:
    user = grant(alice, f"{granted}_file")
    row = new_file(alice)

    decided = decide(ModelPermission("view"), user_of(user), row, asked)

    assert letter_of(decided) == ("A" if ACTIONS[asked] == granted else "D")


@pytest.mark.parametrize("asked", OPERATIONS, ids=lambda kind: kind.__name__)
def test_a_superuser_has_every_permission_but_that_of_no_operation(admin_user: Any, asked: type) -> None:
    decided = decide(DEFAULT_POLICY, user_of(admin_user), new_file(admin_user), asked)

    assert letter_of(decided) == ("D" if asked is DownloadPrefix else "A")


def test_the_permission_is_of_the_model_that_is_asked_about(alice: Any) -> None:
    user = grant(alice, "view_document")

    assert letter_of(decide(DEFAULT_POLICY, user_of(user), new_document(alice))) == "A"
    assert letter_of(decide(DEFAULT_POLICY, user_of(user), new_file(alice))) == "D"


def test_permissions_may_be_renamed(alice: Any) -> None:
    user = grant(alice, "change_file")
    policy = ModelPermission("change")

    assert letter_of(decide(policy, user_of(user), new_file(alice))) == "A"
    assert str(policy) == "ModelPermission('change')"


@pytest.mark.parametrize("is_superuser", [True, False], ids=["superuser", "user"])
def test_an_inactive_user_has_no_permission(alice: Any, is_superuser: bool) -> None:
    user = grant(alice, "view_file")
    user.is_active, user.is_superuser = False, is_superuser

    assert letter_of(decide(DEFAULT_POLICY, user_of(user), new_file(alice))) == "D"


@pytest.mark.parametrize("policy", [DEFAULT_POLICY, Owner("owner"), Authenticated(), StaffOnly()], ids=str)
def test_nobody_in_particular_is_denied(alice: Any, policy: Any) -> None:
    for principal in (ANONYMOUS, SYSTEM):
        assert letter_of(decide(policy, principal, new_document(None))) == "D"


def test_the_services_own_files_are_their_owners_or_of_who_has_the_permission(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    of_alice = {kind for kind in OPERATIONS if letter_of(decide(FILE_POLICY, user_of(alice), file, kind)) == "A"}

    assert of_alice == {Download, Update, Delete, Share}
    assert letter_of(decide(FILE_POLICY, user_of(bob), file)) == "D"
    assert letter_of(decide(FILE_POLICY, user_of(grant(bob, "view_file")), file)) == "A"
    assert letter_of(decide(FILE_POLICY, user_of(grant(bob, "view_file")), file, Delete)) == "D"


# ObjectPermission.


class Titles:
    """A backend that knows objects: everybody has the permission that a document is called after."""

    def authenticate(self, *_: Any, **__: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: Any, row: Any = None) -> bool:
        return row is not None and row.title == str(permission)


ON_THE_OBJECT: dict[str, tuple[str, type, str, Any]] = {
    "the one that is asked for": ("hostapp.view_document", Download, "user", Allow(policy="ObjectPermission('view')")),
    "to change": ("hostapp.change_document", Update, "user", Allow(policy="ObjectPermission('view')")),
    "another": ("hostapp.view_document", Update, "user", Deny("no hostapp.change_document on the object")),
    "of an operation that has none": ("None", DownloadPrefix, "user", Deny("ObjectPermission('view')")),
    "of nobody": ("hostapp.view_document", Download, "anonymous", Deny("ObjectPermission('view')")),
    "of the system": ("hostapp.view_document", Download, "system", Deny("ObjectPermission('view')")),
}


@pytest.mark.parametrize(("title", "asked", "who", "wanted"), ON_THE_OBJECT.values(), ids=ON_THE_OBJECT)
def test_a_permission_on_the_object_is_the_backends_to_say(
    alice: Any, settings: Any, title: str, asked: type, who: str, wanted: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Titles"]
    principal = {"user": user_of(alice), "anonymous": ANONYMOUS, "system": SYSTEM}[who]

    assert decide(ObjectPermission(), principal, new_document(None, title=title), asked) == wanted


def test_a_permission_on_every_object_is_none_on_one_that_is_not_there(alice: Any, admin_user: Any) -> None:
    row = new_document(alice)
    not_read = Resource.of_field(row, "file")

    for user in (grant(alice, "view_document"), admin_user):
        assert evaluate(ModelPermission(), user_of(user), not_read, Download("a")) == Allow(
            policy="ModelPermission('view')"
        )
        assert letter_of(evaluate(ObjectPermission(), user_of(user), not_read, Download("a"))) == "D"
    assert letter_of(decide(ObjectPermission(), user_of(admin_user), row)) == "A"


@pytest.mark.parametrize("answer", ["yes", None, 1], ids=repr)
def test_a_user_who_answers_anything_else_about_a_permission_fails(alice: Any, answer: Any) -> None:
    class Odd:
        pk, is_active = alice.pk, True

        def has_perm(self, *_: Any) -> Any:
            return answer

    row = new_document(alice)

    for policy in (ModelPermission(), ObjectPermission(), ~ModelPermission(), ~ObjectPermission()):
        assert isinstance(decide(policy, user_of(Odd()), row), Failure)


# Policies of the principal alone.

WHO = ["anonymous", "user", "staff", "system"]
BY_PRINCIPAL = {
    "Everyone": (Everyone, {"anonymous", "user", "staff", "system"}),
    "Authenticated": (Authenticated, {"user", "staff"}),
    "StaffOnly": (StaffOnly, {"staff"}),
}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("policy", "allowed"), BY_PRINCIPAL.values(), ids=BY_PRINCIPAL)
def test_policies_of_the_principal(alice: Any, bob: Any, policy: Any, allowed: set[str], who: str) -> None:
    bob.is_staff = True
    principal = {"anonymous": ANONYMOUS, "user": user_of(alice), "staff": user_of(bob), "system": SYSTEM}[who]
    row = new_document(None)

    assert letter_of(decide(policy(), principal, row)) == ("A" if who in allowed else "D")
    assert letter_of(decide(policy(), principal, row, Delete)) == "D"
    assert letter_of(decide(policy(operations=[Delete]), principal, row)) == "D"
    assert letter_of(decide(policy(operations=[Delete]), principal, row, Delete)) == ("A" if who in allowed else "D")


@pytest.mark.parametrize("policy", [Everyone, Authenticated, StaffOnly, lambda **o: Owner("owner", **o)],
                         ids=["Everyone", "Authenticated", "StaffOnly", "Owner"])  # fmt: skip
@pytest.mark.parametrize("operations", [["Download"], [str], [None], [Download("a")], Download, 5], ids=repr)
def test_operations_that_are_none_are_refused(policy: Any, operations: Any) -> None:
    with pytest.raises(TypeError):
        policy(operations=operations)


def test_unknown_operations_are_named_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"str.*only Download, Upload, .*DownloadPrefix"):
        Everyone(operations=[str])


def test_a_policy_of_the_principal_needs_no_row() -> None:
    resource = Resource.of_key("private", "uploads/a")

    assert letter_of(evaluate(Everyone(), ANONYMOUS, resource, Download("uploads/a"))) == "A"
    assert letter_of(evaluate(StaffOnly(), ANONYMOUS, resource, Download("uploads/a"))) == "D"
    assert letter_of(evaluate(~StaffOnly(), ANONYMOUS, resource, Download("uploads/a"))) == "A"
    assert letter_of(evaluate(DEFAULT_POLICY, ANONYMOUS, resource, Download("uploads/a"))) == "D"


# Owner.


def test_an_owner_is_the_one_the_row_names(alice: Any, bob: Any) -> None:
    row = new_document(alice)

    assert decide(Owner("owner"), user_of(alice), row) == Allow(policy="Owner('owner')")
    assert letter_of(decide(Owner("owner"), user_of(bob), row)) == "D"
    assert letter_of(decide(Owner("owner"), user_of(alice), row, Delete)) == "D"


PATHS_TO_THE_OWNER = ["owner", "owner_id", "owner__pk", "owner__id"]


@pytest.mark.parametrize("path", PATHS_TO_THE_OWNER)
def test_every_spelling_of_a_path_to_the_user_is_one(alice: Any, bob: Any, path: str) -> None:
    row = new_document(alice)

    assert letter_of(decide(Owner(path), user_of(alice), row)) == "A"
    assert letter_of(decide(Owner(path), user_of(bob), row)) == "D"
    assert letter_of(decide(Owner(path), user_of(alice), new_document(None))) == "D"


@pytest.mark.parametrize("path", PATHS_TO_THE_OWNER)
@pytest.mark.parametrize("policy", [lambda p: p, lambda p: p & Authenticated(), lambda p: p | StaffOnly()],
                         ids=["alone", "and", "or"])  # fmt: skip
def test_a_row_without_an_owner_belongs_to_nobody(alice: Any, policy_of_documents: Any, path: str, policy: Any) -> None:
    row = new_document(None)
    deleted = User.objects.create(username="gone")
    deleted.delete()
    policy_of_documents(policy(Owner(path)))

    for user in (alice, deleted, User(username="unsaved"), User(username="")):
        assert letter_of(decide(policy(Owner(path)), user_of(user), row)) == "D"
        assert door_of(policy(Owner(path)), user_of(user), row) == "refused"
        queryset = visible(policy(Owner(path)), user_of(user), Document.objects.all(), Download)
        assert queryset is not None
        assert not queryset.exists()


def test_an_owner_over_joins(alice: Any, bob: Any) -> None:
    project, other = Project.objects.create(name="p"), Project.objects.create(name="o")
    project.members.add(alice, bob)
    other.members.add(bob)
    minutes = Minutes(project=project, file="uploads/m.pdf")
    minutes.save_base(raw=True)
    policy = Owner("project__members")

    assert letter_of(decide(policy, user_of(alice), minutes)) == "A"
    project.members.remove(alice)
    assert letter_of(decide(policy, user_of(alice), minutes)) == "D"
    assert letter_of(decide(policy, user_of(bob), minutes)) == "A"


def test_a_join_to_many_does_not_repeat_a_row(alice: Any, bob: Any) -> None:
    project = Project.objects.create(name="p")
    project.members.add(alice, bob)
    for number in range(3):
        new_document(alice, project=project, title=str(number))
    policy = Owner("project__members") | Owner("project__document__owner") | Owner("owner")

    queryset = visible(policy, user_of(alice), Document.objects.all(), Download)

    assert queryset is not None
    assert sorted(queryset.values_list("title", flat=True)) == ["0", "1", "2"]


def test_two_conditions_over_one_join_are_not_met_by_two_rows(alice: Any, bob: Any) -> None:
    # Member and chair of the same project, not member of one and chair of another.
    one, other = Project.objects.create(name="one"), Project.objects.create(name="other")
    one.members.add(alice)
    other.members.add(bob)
    row = new_document(bob, project=one)
    new_document(alice, project=other)
    policy = Owner("project__members") & Owner("project__document__owner")

    assert letter_of(decide(policy, user_of(alice), row)) == "D"
    assert compiled(policy, user_of(alice), [row]) == ["refused"]


WRONG_PATHS = {
    "no such field": "author",
    "no such field further on": "project__owner",
    "text": "title",
    "row of another kind": "project",
    "key of another kind": "project__pk",
    "own key": "pk",
    "own key by name": "id",
    "text of a user": "owner__username",
    "lookup": "owner__in",
    "nothing": "",
    "half a path": "owner__",
}


@pytest.mark.parametrize("path", WRONG_PATHS.values(), ids=WRONG_PATHS)
def test_a_path_that_leads_to_no_user_is_a_failure(
    alice: Any, policy_of_documents: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    project = Project.objects.create(pk=alice.pk, name="same number")
    row = new_document(alice, project=project, title=alice.username)
    for policy in (Owner(path), ~Owner(path), Owner(path) & Everyone()):
        policy_of_documents(policy)

        assert isinstance(decide(policy, user_of(alice), row), Failure)
        assert door_of(policy, user_of(alice), row) == "refused"
        assert "a policy failed about" in caplog.text


def test_a_key_of_the_user_itself_is_a_path_to_it() -> None:
    branches = Owner("pk").branches(user_of(User(pk=7)), Download, User)

    assert branches == [Branch(Q(pk=7), Allow(policy="Owner('pk')"))]


@isolate_apps("tests.hostapp")
def test_a_foreign_key_to_another_field_than_the_key_is_compared_with_that_field() -> None:
    class Diary(models.Model):
        author = models.ForeignKey(User, on_delete=models.CASCADE, to_field="username")

        class Meta:
            app_label = "hostapp"

    # The user number 7 is not the one who calls himself "7".
    condition = Owner("author").branches(user_of(User(pk=7, username="seven")), Download, Diary)[0].condition

    assert "seven" in str(Diary.objects.filter(condition).query)


def test_a_user_that_is_no_row_is_known_by_its_number(alice: Any, bob: Any) -> None:
    class TokenUser:
        """As stateless tokens make one."""

        def __init__(self, pk: int) -> None:
            self.pk = pk
            self.is_active = True

    row = new_document(alice)

    assert letter_of(decide(Owner("owner"), user_of(TokenUser(alice.pk)), row)) == "A"
    assert letter_of(decide(Owner("owner"), user_of(TokenUser(bob.pk)), row)) == "D"


def test_nobody_is_no_owner() -> None:
    assert Owner("owner").branches(user_of(AnonymousUser()), Download, Document) == []


def test_members_are_asked_for_without_a_join_that_could_repeat_the_row(alice: Any) -> None:
    (branch,) = Owner("members").branches(user_of(alice), Download, Project)
    statement = str(Project.objects.filter(branch.condition).query)

    assert "JOIN" not in statement.partition("EXISTS")[0]
    project = Project.objects.create(name="p")
    assert not Project.objects.filter(branch.condition).exists()
    project.members.add(alice)
    assert Project.objects.filter(branch.condition).get() == project


def test_nobody_owns_a_bare_key(alice: Any) -> None:
    resource = Resource.of_key("private", "uploads/a")

    assert letter_of(evaluate(Owner("owner"), user_of(alice), resource, Download("uploads/a"))) == "D"


# The way of asking.


@pytest.mark.parametrize(
    ("policy", "queries_of_one"),
    [
        (Owner("owner"), 1),
        (Owner("owner") | DEFAULT_POLICY, 1),
        (Everyone(), 1),
        (Owner("project__members"), 2),
        (~Owner("owner") & Authenticated(), 2),
    ],
    ids=str,
)
def test_built_in_policies_are_asked_in_the_statement_that_reads_the_row(
    alice: Any, policy_of_documents: Any, policy: Any, queries_of_one: int
) -> None:
    user = User.objects.get(pk=alice.pk)
    user.get_all_permissions()  # cached by Django on the user
    row = new_document(alice)
    policy_of_documents(policy)

    with request_of(user), CaptureQueriesContext(connection) as queries:
        door_of(policy, user_of(user), row)

    # The row with what was taken back; and again with a condition that its own columns do not answer.
    assert len(queries) == queries_of_one


def test_a_policy_with_its_own_visible_is_asked_that(alice: Any) -> None:
    class Titled:
        def visible(self, principal: Any, queryset: Any, operation: type) -> Any:
            return queryset.filter(title=operation.__name__)

    new_document(alice, title="Download")
    new_document(alice, title="Delete")

    queryset = visible(Titled(), ANONYMOUS, Document.objects.all(), Delete)

    assert queryset is not None
    assert queryset.get().title == "Delete"


def test_what_cannot_be_said_as_a_query_is_not_visible_as_one() -> None:
    leaf = Leaf("own", owns)

    for policy in (leaf, ~leaf, leaf & Everyone(), Everyone() & leaf, leaf | Everyone(), Everyone() | leaf):
        assert visible(policy, ANONYMOUS, Document.objects.all(), Download) is None


class Titled(Composable):
    """Says which rows it allows in a query of its own alone."""

    def __init__(self, titles: str) -> None:
        self.titles = titles

    def visible(self, principal: Any, queryset: Any, operation: type) -> Any:
        return queryset.filter(title__in=self.titles).order_by("title")


# what is asked, and the titles that it shows of a (alice's), b and c
SHOWN = {
    "alone": (Titled("ab"), "ab"),
    "both": (Titled("ab") & Titled("bc"), "b"),
    "either": (Titled("a") | Titled("c"), "ac"),
    "with a condition": (Titled("ab") & Owner("owner"), "a"),
    "or a condition": (Owner("owner") | Titled("b"), "ab"),
    "within another": ((Titled("ab") | Titled("c")) & Titled("bc"), "bc"),
    "with nobody": (Titled("ab") & StaffOnly(), ""),
    "or anybody": (Titled("a") | Everyone(), "abc"),
    "the opposite": (~Titled("a"), None),
    "beside what is no query": (Titled("a") | Leaf("own", owns), None),
    "after what is no query": (Leaf("own", owns) & Titled("a"), None),
}


@pytest.mark.parametrize(("policy", "titles"), SHOWN.values(), ids=SHOWN)
def test_queries_of_policies_are_combined(alice: Any, policy: Any, titles: str | None) -> None:
    for title, owner in {"a": alice, "b": None, "c": None}.items():
        new_document(owner, title=title)

    queryset = visible(policy, user_of(alice), Document.objects.order_by("-title"), Download)

    assert titles == (None if queryset is None else "".join(sorted(row.title for row in queryset)))


def test_a_policy_on_rows_that_says_no_branches_fails_and_so_does_its_opposite(alice: Any) -> None:
    class Unsaid(RowPolicy):
        pass

    for policy in (Unsaid(), ~Unsaid()):
        decided = decide(policy, user_of(alice), new_document(alice))
        assert isinstance(decided, Failure)
        assert str(decided.error) == "Unsaid does not say its branches"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    policies=st.lists(st.sampled_from(["owner", "members", "authenticated", "staff", "view"]), min_size=1, max_size=3),
    signs=st.lists(st.booleans(), min_size=3, max_size=3),
    joins=st.lists(st.booleans(), min_size=2, max_size=2),
    who=st.sampled_from(["alice", "bob", "anonymous"]),
)
def test_what_is_visible_is_what_is_allowed_one_by_one(
    rows: list[Document], alice: Any, bob: Any, policies: list[str], signs: list[bool], joins: list[bool], who: str
) -> None:
    built_in: dict[str, Any] = {
        "owner": Owner("owner"), "members": Owner("project__members"), "authenticated": Authenticated(),
        "staff": StaffOnly(), "view": ModelPermission("view"),
    }  # fmt: skip
    Project.objects.get(name="a").members.set([alice])
    principal = {"alice": user_of(alice), "bob": user_of(bob), "anonymous": ANONYMOUS}[who]
    leaves = [~built_in[name] if sign else built_in[name] for name, sign in zip(policies, signs, strict=False)]
    policy = leaves[0]
    for leaf, is_and in zip(leaves[1:], joins, strict=False):
        policy = policy & leaf if is_and else policy | leaf

    queryset = visible(policy, principal, Document.objects.all(), Download)

    assert queryset is not None
    allowed = {row.pk for row in rows if isinstance(decide(policy, principal, row), Allow)}
    assert sorted(queryset.values_list("pk", flat=True)) == sorted(allowed)


def test_the_operations_that_are_decided_name_a_key_of_the_grammar() -> None:
    for kind in (Delete, Update, Share, DownloadPrefix):
        for key in ("", "../x", "a//b", "/a", "a\x00b"):
            with pytest.raises(InvalidKey):
                kind(key)
        assert kind("a/b").key == "a/b"
    assert DownloadPrefix("a/").key == "a/"


def test_every_operation_is_known_to_this_module() -> None:
    assert set(OPERATION_OF) == set(OPERATIONS) == set(ACTIONS)
    assert all(len({one, other}) == 2 for one, other in itertools.combinations(OPERATIONS, 2))


UNCHANGEABLE: list[Any] = [
    Delete("a"), Update("a"), Share("a"), DownloadPrefix("a/"), Limits(), Allow(), Deny(), Failure(ValueError()),
    Everyone() & StaffOnly(), Everyone() | StaffOnly(), ~StaffOnly(),
]  # fmt: skip


@pytest.mark.parametrize("value", UNCHANGEABLE, ids=lambda value: type(value).__name__)
def test_what_was_checked_or_answered_cannot_be_changed_afterwards(value: Any) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)

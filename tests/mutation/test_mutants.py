from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mutation.__main__ import report, survivors
from tests.mutation.mutants import functions_of, mutants_of
from tests.mutation.session import AtImport, Outcome
from tests.mutation.targets import ROOT, TARGETS

# what is written, and each fault that can be made of it
FAULTS = {
    "a bound": ("return a < b", {"a < b → a <= b", "return a < b → return None"}),
    "an equality": ("return a == b", {"a == b → a != b", "return a == b → return None"}),
    "a condition": ("if a: b()", {"if a → if True", "if a → if False", "b() → pass"}),
    "two clauses": ("x = a and b", {"a and b → a or b", "a and b → a", "a and b → b"}),
    "a negation": ("x = not a", {"not a → a"}),
    "a sum": ("x = a + b", {"a + b → a - b"}),
    "what is added": ("x |= a", {"x |= a → x = a"}),
    "a refusal": ("raise ValueError('no')", {"raise ValueError('no') → pass"}),
    "a choice": ("x = a if b else c", {"a if b else c → a", "a if b else c → c"}),
    "a filter": ("x = [a for a in b if a]", {"for a in … if a → for a in …"}),
    "the tightest": ("x = min(a, b)", {"min(a, b) → max(a, b)"}),
    "a number": ("x = 1", {"1 → 2"}),
    "a text": ("x = 'a'", {"'a' → ''"}),
    "a truth": ("return True", {"True → False"}),
    "a log": ("logger.info('a')", set()),
    "an assertion for the type checker": ("assert a is not None", set()),
    "a docstring": ("'''Say.'''", set()),
    "an option": ("x = a(b=True, c=1)", {"b=True → b=False", "c=1 → c=2"}),
    "slots": ("dataclass(slots=True)(c)", {"dataclass(slots=True)(c) → pass"}),
}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return tmp_path / "subject.py"


@pytest.mark.parametrize(("text", "faults"), FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_that_can_be_made_is_found(module: Path, text: str, faults: set[str]) -> None:
    module.write_text(f"def f(a, b, c, x):\n    {text}\n")
    mutants = mutants_of("subject", module)
    assert {mutant.name for mutant in mutants} == {f"subject f: {fault}" for fault in faults}
    assert all(mutant.in_function and mutant.line == mutant.last_line == 2 for mutant in mutants)


def test_a_mutant_does_what_its_name_says_and_the_file_stays(module: Path) -> None:
    text = "LEAST = 1\n\n\nclass Door:\n    def opens(self, a):\n        return a > LEAST\n"
    module.write_text(text)
    answers = {}
    for mutant in mutants_of("subject", module):
        names: dict[str, Any] = {"__name__": "subject"}
        exec(mutant.code(), names)
        answers[mutant.name] = [names["Door"]().opens(a) for a in (1, 2)]
    assert answers == {
        "subject (top): 1 → 2": [False, False],
        "subject Door.opens: return a > LEAST → return None": [None, None],
        "subject Door.opens: a > LEAST → a >= LEAST": [True, True],
    }
    assert module.read_text() == text


def test_the_functions_of_a_module_are_found_by_their_place(module: Path) -> None:
    text = "def a():\n    def inner(): ...\n\n\nclass B:\n    @property\n    def c(self): ...\n"
    found = functions_of(compile(text, str(module), "exec"))
    assert found.keys() == {("a", 1), ("B.c", 6)}


def test_what_shows_at_import_is_told_from_what_shows_when_called(module: Path) -> None:
    module.write_text("@deco(1)\ndef f(a=2):\n    return g(3)\n")
    shows = {mutant.before: mutant.in_function for mutant in mutants_of("subject", module)}
    assert shows == {"1": False, "2": False, "3": True, "return g(3)": True}


def test_a_module_is_imported_as_its_mutant(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module.write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    (mutant,) = mutants_of("subject", module)
    spec: Any = AtImport(mutant).find_spec("subject")
    assert spec.loader.get_code("subject") == mutant.code()
    assert AtImport(mutant).find_spec("another") is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.path)
def test_every_target_has_faults_and_tests(target: Any) -> None:
    assert any(target.mutants(module) for module in target.modules())
    assert all((ROOT / test).is_file() for test in target.tests)


def test_the_report_counts_each_module_and_names_what_no_page_explains(module: Path, tmp_path: Path) -> None:
    module.write_text("def f(a, b):\n    return a < b or a\n")
    one, two, three, four = mutants_of("subject", module)[:4]
    page = tmp_path / "page.md"
    page.write_text(f"| `{one.name}` | why |\n")
    text = report(Outcome(killed=[three], survived=[one, two], left_out=[four]), ["subject"], 7, page)
    assert "| subject | 4 | 1 | 0 | 2 | 1 |" in text
    assert "score 33.3%; at least 90%" in text
    assert one.name not in text
    assert f"survived, not explained: line {two.line}, `{two.name}`" in text
    assert "1 mutants were left out, drawn with --seed 7" in text


def test_what_survived_is_found_again_in_the_output_though_its_line_has_moved(module: Path) -> None:
    module.write_text("def f(a, b):\n    return a < b or a\n")
    one, two, three, four = mutants_of("subject", module)[:4]
    output = f".survived: 7 {three.name}\n50 of 100, 92.0%\nsurvived: 2 {one.name}\nnot used: {four.name}\n"
    assert survivors(output, [one, two, three, four]) == [one, three]

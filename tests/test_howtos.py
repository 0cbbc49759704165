"""The pages that show how to do something do it: their code makes a project, and their tests pass in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import howto

PAGES = sorted(f"docs/{page.name}" for page in (howto.ROOT / "docs").glob("*.md") if "tests.py`:" in page.read_text())


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_a_page_shows_pass_in_the_project_that_it_shows(page: str, tmp_path: Path) -> None:
    howto.build(page, tmp_path)
    said = howto.manage(
        tmp_path, ["makemigrations", howto.APP], ["check", "--fail-level", "WARNING"], ["test", "--verbosity", "2"]
    )
    shown = len(re.findall(r"^    (?:async )?def test_", howto.pieces(page)["tests.py"], re.MULTILINE))
    assert f"Ran {shown} test" in said
    assert shown > 0


def test_every_how_to_is_run() -> None:
    assert {"docs/django-rest-framework.md", "docs/forms-and-admin.md", "docs/templates.md", "docs/testing.md"} <= set(
        PAGES
    )


# Two tests that are wrong: one puts a link into a cache where it is seen at once, one where it is swallowed.
LEAKS = """
from contextlib import suppress

import pytest
from django.core.cache import cache

from reports.test_with_pytest import report


@pytest.mark.parametrize("swallowed", [(), Exception], ids=["raised", "swallowed"])
def test_leak(report, gateway_as_user, swallowed):
    with gateway_as_user(report.author), suppress(swallowed):
        cache.set("report", report.file.url)
"""


def test_what_a_page_shows_of_pytest_passes_there_and_a_leak_fails(tmp_path: Path) -> None:
    page = "docs/testing.md"
    howto.build(page, tmp_path)
    howto.manage(tmp_path, ["makemigrations", howto.APP])
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    files = ("tests.py", "test_with_pytest.py")
    said = howto.run(tmp_path, *pytest_, *(f"{howto.APP}/{file}" for file in files))
    shown = sum(len(re.findall(r"^ *(?:async )?def test_", howto.pieces(page)[file], re.MULTILINE)) for file in files)
    assert f"{shown} passed" in said

    (tmp_path / howto.APP / "test_leak.py").write_text(LEAKS)
    said = howto.run(tmp_path, *pytest_, f"{howto.APP}/test_leak.py", expected=1)
    assert "1 failed, 1 passed, 2 errors" in said
    assert "LinkKept" in said


# How the other libraries make the thumbnail that docs/thumbnails.md makes with easy-thumbnails.
EASY = 'get_thumbnailer(photo.image).get_thumbnail({"size": (200, 200)})'
LIBRARIES = {
    "imagekit": (
        'INSTALLED_APPS[-1:] = ["imagekit"]\nIMAGEKIT_DEFAULT_FILE_STORAGE = "thumbnails"',
        "from imagekit import ImageSpec, register\n"
        "from imagekit.cachefiles import ImageCacheFile\n"
        "from imagekit.processors import ResizeToFit\n\n\n"
        "class Small(ImageSpec):\n"
        "    processors = [ResizeToFit(200, 200)]\n"
        '    format = "JPEG"\n\n\n'
        'register.generator("reports:small", Small)\n',
        "ImageCacheFile(Small(source=photo.image))",
    ),
    "sorl": (
        'INSTALLED_APPS[-1:] = ["sorl.thumbnail"]\nTHUMBNAIL_STORAGE = "thumbnails"\n'
        'THUMBNAIL_BACKEND = "reports.sorl_names.NamedAfterImage"',
        "from sorl.thumbnail import get_thumbnail\n",
        'get_thumbnail(photo.image, "200x200")',
    ),
}


@pytest.mark.parametrize(("settings", "imports", "thumbnail"), LIBRARIES.values(), ids=LIBRARIES)
def test_the_policy_of_thumbnails_holds_for_the_other_libraries(
    settings: str, imports: str, thumbnail: str, tmp_path: Path
) -> None:
    howto.build("docs/thumbnails.md", tmp_path)
    project, tests = tmp_path / "mysite" / "settings.py", tmp_path / howto.APP / "tests.py"
    assert 'INSTALLED_APPS += ["easy_thumbnails"]' in project.read_text()
    project.write_text(f"{project.read_text()}\n\n{settings}\n")
    code = tests.read_text().replace("from easy_thumbnails.files import get_thumbnailer\n", imports)
    assert EASY in code
    tests.write_text(code.replace(EASY, thumbnail))
    said = howto.manage(
        tmp_path, ["makemigrations", howto.APP], ["check", "--fail-level", "WARNING"], ["test", "--verbosity", "2"]
    )
    assert "Ran 3 tests" in said

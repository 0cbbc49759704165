"""The README's own commands and code, run as a newcomer would, against the built wheel in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.emulators.process import LOOPBACK, free_port

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"(?:`(?P<file>\w+\.py)`:\n\n)?```(?P<language>\w+)\n(?P<code>.*?)```", README, re.DOTALL)
START_SECONDS = 60


def block(file: str) -> str:
    """Return the code that the README puts into a file."""
    (code,) = [code for name, _, code in BLOCKS if name == file]
    return code


def run(*command: str | Path, cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, without the network."""
    directory = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT,
        cwd=directory, environment=dict(os.environ),
    )  # fmt: skip
    (path,) = directory.glob("*.whl")
    return path


def test_the_two_commands_of_the_set_up_are_targets_of_the_makefile() -> None:
    commands = [line for _, language, code in BLOCKS if language == "sh" for line in code.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert commands[:2] == ["make run", "make test"]
    assert {"run", "test"} <= set(targets)


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gateway", "providers"}
    for needed in ("gateway/py.typed", "providers/py.typed", "gateway/migrations/0001_initial.py"):
        assert needed in names
    for_hosts = {"gateway/testing.py", "gateway/pytest_plugin.py"}
    assert {name for name in names if "test" in name.rpartition("/")[2]} == for_hosts


def test_a_model_with_a_private_field_gives_a_working_url(wheel: Path, tmp_path: Path) -> None:
    site_packages, project = tmp_path / "site-packages", tmp_path / "project"
    project.mkdir()
    # What `pip install presign-gateway` would put there; its dependencies are in this environment.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    environment |= {"PYTHONPATH": str(site_packages), "PYTHONWARNINGS": "ignore"}
    port = free_port()

    run(sys.executable, "-m", "django", "startproject", "mysite", ".", cwd=project, environment=environment)
    run(sys.executable, "manage.py", "startapp", "reports", cwd=project, environment=environment)
    settings = project / "mysite" / "settings.py"
    code = block("settings.py").replace("127.0.0.1:8000", f"{LOOPBACK}:{port}")
    settings.write_text(settings.read_text() + f'\nINSTALLED_APPS += ["reports"]\n{code}')
    urls = project / "mysite" / "urls.py"
    urls.write_text(f"{urls.read_text()}\n{block('urls.py')}")
    (project / "reports" / "models.py").write_text(block("models.py"))

    run(sys.executable, "manage.py", "check", "--fail-level", "WARNING", cwd=project, environment=environment)
    run(sys.executable, "manage.py", "makemigrations", "reports", cwd=project, environment=environment)
    run(sys.executable, "manage.py", "migrate", "--verbosity", "0", cwd=project, environment=environment)
    (snippet,) = [code for _, _, code in BLOCKS if "print(report.file.url)" in code]
    script = project / "first_link.py"
    script.write_text(
        "from django.contrib.auth.models import User\n"
        "from django.core.files.base import ContentFile\n"
        "from reports.models import Report\n"
        "report = Report(author=User.objects.create_user('ada'))\n"
        "report.file.save('numbers.txt', ContentFile(b'my own bytes'))\n" + snippet
    )
    url = run(
        sys.executable, "-c",
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'; django.setup();"
        f" exec(open({str(script)!r}).read())",
        cwd=project, environment=environment,
    ).strip()  # fmt: skip

    command = [sys.executable, "manage.py", "runserver", "--noreload", f"{LOOPBACK}:{port}"]
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            _wait(port)
            with urllib.request.urlopen(url, timeout=10) as response:
                assert response.read() == b"my own bytes"
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=10)
        finally:
            server.terminate()


def test_make_run_serves_and_its_curl_lines_work_as_printed(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT, environment=dict(os.environ))
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    # The environment that this very test runs in was made by the same Makefile.
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    (Path(sys.prefix) / ".installed").touch()
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    environment |= {"PYTHONUNBUFFERED": "1"}
    command = ["make", "run", f"PORT={port}"]
    with subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stdout is not None
            lines = []
            for line in server.stdout:
                lines.append(line.rstrip("\n"))
                if sum(text.startswith("curl ") for text in lines) == 3:
                    break
            _wait(port)
            link, followed, refused = (
                run("sh", "-c", text, cwd=tmp_path, environment=environment)
                for text in lines
                if text.startswith("curl ")
            )
        finally:
            os.killpg(server.pid, 15)
    assert f'"url": "http://{LOOPBACK}:{port}/local/' in link
    assert re.fullmatch(r"200 \d{3,} bytes\n", followed)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert '"code": "not_found"' in refused


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.1)
        else:
            return

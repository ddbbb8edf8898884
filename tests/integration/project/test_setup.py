"""scripts/setup.sh in a throw-away copy with a package of nothing: installs once, and again only when what it was made
from has changed; refuses an interpreter that it cannot use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "nothing"
version = "1"
"""
BACKEND = '''
"""A build backend that needs no package index, and counts what it is asked for."""
import zipfile

METADATA = "Metadata-Version: 2.1\\nName: nothing\\nVersion: 1\\n"


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with open("builds", "a") as builds:
        builds.write("x")
    name = "nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("nothing-1.dist-info/METADATA", METADATA)
        wheel.writestr("nothing-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: it\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("nothing-1.dist-info/RECORD", "")
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return build_editable(wheel_directory)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "constraints.txt").write_text("")
    (tmp_path / "backend.py").write_text(BACKEND)
    return tmp_path


def _set_up(project: Path, *command: str, **environment: str) -> str:
    """What the set-up says; its extra is one that asks for no torch."""
    names = {"EXTRAS": "executor", "PYTHON": sys.executable, "PIP_NO_INDEX": "1"} | environment
    command = command or ("bash", "scripts/setup.sh")
    outer = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # of the `make test` that runs this
    done = subprocess.run(command, cwd=project, env=outer | names, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _builds(project: Path) -> int:
    return len((project / "builds").read_text())


def _only_count(project: Path) -> None:
    """From here on the environment's pip installs nothing: it takes seconds, and counts as the backend does."""
    (pip,) = (project / ".venv").glob("lib/python3*/site-packages/pip")
    shutil.rmtree(pip)
    pip.mkdir()
    (pip / "__main__.py").write_text("import sys\nif sys.argv[1] == 'install': open('builds', 'a').write('x')\n")


def test_an_environment_is_installed_once_and_again_when_what_it_was_made_from_changes(project: Path) -> None:
    assert "ready after" in _set_up(project) and _builds(project) == 1
    assert ".venv is up to date" in _set_up(project) and _builds(project) == 1
    os.utime(
        project / ".venv" / ".ready", (1, 1)
    )  # older than its sources, as after a checkout of the same text; make looks at the times
    assert "up to date" in _set_up(project, "make", "setup") and ".venv is ready\n" == _set_up(project, "make", "setup")
    assert _builds(project) == 1
    (project / "constraints.txt").write_text("# another\n")
    os.utime(project / "constraints.txt", (1, 1))  # as rsync does with an older release
    assert "ready after" in _set_up(project) and _builds(project) == 2
    _only_count(project)
    assert "ready after" in _set_up(project, "make", "setup", "FORCE=1") and _builds(project) == 3
    assert "ready after" in _set_up(project, EXTRAS="executor,other") and _builds(project) == 4


def _refused(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of the set-up script with an interpreter that it must refuse before it makes anything."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(
        ["bash", "scripts/setup.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_set_up_without_python_says_what_to_install(tmp_path: Path) -> None:
    done = _refused(tmp_path, "/nonexistent/python3")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Python 3.11, 3.12 or 3.13 was not found: install" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_set_up_without_venv_says_what_to_install(tmp_path: Path) -> None:
    python = tmp_path / "python-without-venv"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    python.chmod(0o755)
    done = _refused(tmp_path, str(python))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "has no venv module: install it" in done.stderr

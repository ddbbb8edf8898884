"""The project as a wheel, installed beside somebody else's packages `executor` and `config`: all that is put there is
`rltf`, and it works from any folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rltf.monitor.run_folder import RunFolder
from tests.support.monitor_rows import config
from tests.support.paths import ROOT

THEIRS = ("executor", "config")
PROBLEM = {"id": "add", "question": "Add.", "fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}
PROGRAMS = ("def add(a, b):\n    return a + b\n", "def add(a, b):\n    return a + c\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of packages; built in a copy, for setuptools packs what an earlier build has left beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source, site = folder / "source", folder / "site"
    rooms = [link.name for link in (ROOT / "rltf").iterdir() if link.is_symlink() and link.is_dir()]
    for name in ("rltf", *rooms):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("launch.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in THEIRS:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("OWNER = 'somebody else'\n")
    pip = [sys.executable, "-m", "pip", "-q", "--no-input", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(source)]
    subprocess.run(build, check=True, timeout=120)
    (wheel,) = folder.glob("rltf-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True, timeout=120
    )
    return site


def _ran(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def _said(installed: Path, folder: Path, *command: str) -> str:
    done = _ran(installed, folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_but_one_package_is_put_there(installed: Path, tmp_path: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    (information,) = (name for name in names if name.endswith(".dist-info"))
    assert names == {*THEIRS, "rltf", information, "bin"}
    assert (installed / information / "top_level.txt").read_text() == "rltf\n"
    assert _files(installed / "rltf") == _files(ROOT / "rltf")
    code = "import config, executor, rltf, rltf.executor; print(config.OWNER, executor.OWNER, rltf.__file__)"
    assert _said(installed, tmp_path, sys.executable, "-c", code) == (
        f"somebody else somebody else {installed}/rltf/__init__.py\n"
    )


def _files(package: Path) -> set[str]:
    """Files of a package, through links."""
    found = (Path(folder) / name for folder, _, names in os.walk(package, followlinks=True) for name in names)
    return {str(file.relative_to(package)) for file in found if file.parent.name != "__pycache__"}


def test_the_package_imports_nothing_by_itself(installed: Path, tmp_path: Path) -> None:
    code = "import sys; before = {*sys.modules}; import rltf; print(*{*sys.modules} - before)"
    assert _said(installed, tmp_path, sys.executable, "-c", code) == "rltf\n"


def test_the_command_has_its_name_and_its_presets(installed: Path, tmp_path: Path) -> None:
    command = str(installed / "bin" / "rltf")
    shown = _said(installed, tmp_path, command, "--help")
    assert shown.startswith("usage: rltf [COMMAND] ") and "launch.py" not in shown
    assert shown == _said(installed, tmp_path, sys.executable, "-m", "rltf", "help")
    done = _ran(installed, tmp_path, command, "--config", "starer")
    assert done.returncode == 2 and done.stderr.endswith("did you mean the preset starter?\n")


def test_a_program_is_judged(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    lines = [json.dumps({"problem_id": "add", "code": program}) for program in PROGRAMS]
    (tmp_path / "programs.jsonl").write_text("\n".join(lines) + "\n")
    words = "grade --problems jsonl:problems.jsonl --programs programs.jsonl --out verdicts.jsonl".split()
    _said(installed, tmp_path, str(installed / "bin" / "rltf"), *words)
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [(verdict["outcome"], verdict["error_type"], verdict["line"]) for verdict in verdicts] == [
        ("pass", None, None), ("runtime_error", "NameError", 2),
    ]  # fmt: skip


def test_the_example_of_the_library_runs(installed: Path, tmp_path: Path) -> None:
    (_, example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    told = _said(installed, tmp_path, sys.executable, "example.py").splitlines()
    assert len(told) == 7 and told[-1].startswith("pass@1 0.") and "runtime_error AttributeError 2" in told


def test_the_guard_writes_the_report_of_a_driver_that_died(installed: Path, tmp_path: Path) -> None:
    """It starts Python anew, and knows the run by the path that its command knew."""
    RunFolder.create(config(tmp_path))
    code = "from rltf.driver.guard import _last_word; _last_word('its driver was killed', 'runs/example', False)"
    done = _ran(installed, tmp_path, sys.executable, "-c", code)
    assert done.stderr.splitlines()[-2:] == [
        "Report and plots: runs/example/report.md",
        "run failed: its driver was killed",
    ]
    assert "its driver was killed" in (tmp_path / "runs" / "example" / "report.md").read_text()

"""The loop of docs/loop.md runs as it is written, at a smaller size."""

import re

import pytest

from tests.support.paths import ROOT

SIZES = "WARM_START, STEPS, PROBLEMS, SAMPLES = 500, 20, 24, 8"
CONFIG = 'load(preset("starter"))'
OVERRIDES = '"learner.objective": "rltf", "rltf.baseline": "group_mean"'
"""Of the page's last sentence. With them the line of an error teaches something, also where no program passes."""


def test_the_loop_runs_and_learns_from_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "loop.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code and len(code[1].splitlines()) <= 80 and SIZES in code[1] and CONFIG in code[1] and OVERRIDES in page
    smaller = CONFIG.replace("))", f'), {{{OVERRIDES}, "policy.d_model": "32", "policy.layers": "1"}})')
    small = code[1].replace(SIZES, SIZES.split("=")[0] + "= 3, 2, 3, 6").replace(CONFIG, smaller)
    exec(compile(small, "docs/loop.md", "exec"), {})
    shown = capsys.readouterr().out
    told = re.findall(r"^step (\d): \d+ of (\d+) programs pass, (\d+) carry a signal$", shown, re.MULTILINE)
    assert [(step, programs) for step, programs, _ in told] == [("1", "18"), ("2", "18")]
    assert all(int(signal) for _, _, signal in told)

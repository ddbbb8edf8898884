"""The hub where nobody answers."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.paths import ROOT


def test_a_hub_that_does_not_answer_is_one_sentence() -> None:
    program = "from rltf import problems, config\ntry: problems.load_problems('mbpp')\nexcept config.UserError as error: print(error)"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": "/nonexistent",
        "PYTHONPATH": str(ROOT),
    }
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert "mbpp: the hub gave no data" in answer.stdout and "mbpp:PATH" in answer.stdout

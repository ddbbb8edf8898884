"""Every judge that can be chosen, by the name that `executor.judge` gives it."""

from __future__ import annotations

from rltf.config import chosen
from rltf.executor.judge import Judge
from rltf.executor.remote_judge import RemoteJudge
from rltf.executor.sandbox_judge import SandboxJudge

JUDGES: dict[str, type[Judge]] = {"sandbox": SandboxJudge, "remote": RemoteJudge}


def judge_named(name: str) -> type[Judge]:
    """The class of a judge. Raises UserError for a name that none has."""
    return chosen(JUDGES, name, "executor.judge")

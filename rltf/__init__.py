"""Reinforcement learning of code models from unit tests: the one name that an installation puts among a Python's
packages. `docs/api.md` says what may be relied on of it.

The rooms (`actors/`, `buffer/`, `executor/`, ...) lie in the root of a checkout, and this folder links to them, so that
`rltf.executor` is the same import in a checkout, in an installation, in Ray's workers, and for type checkers and
linters, which follow links. Importing `rltf` imports nothing: the sandbox does, before every program. A public name is
looked up when it is asked for.
"""

TYPE_CHECKING = False  # as in `typing`, whose import would cost more than all else here
if TYPE_CHECKING:
    from rltf.buffer.records import Feedback, Group, Program, Sample, TestResult
    from rltf.config import Config, ExecutorConfig, UserError
    from rltf.config import load as load_config
    from rltf.evaluation.pass_at_k import Estimate, mean_pass_at_k, pass_at_k
    from rltf.executor.judge import InfrastructureFailure, Judge
    from rltf.monitor.run_record import RunRecord
    from rltf.monitor.sample_columns import RecordedSample
    from rltf.problems import Problem, ProblemSet, TestSuite, load_problems

__all__ = [
    "Config",
    "Estimate",
    "ExecutorConfig",
    "Feedback",
    "Group",
    "InfrastructureFailure",
    "Judge",
    "Problem",
    "ProblemSet",
    "Program",
    "RecordedSample",
    "RunRecord",
    "Sample",
    "TestResult",
    "TestSuite",
    "UserError",
    "load_config",
    "load_problems",
    "mean_pass_at_k",
    "pass_at_k",
]

_MODULES = {
    "buffer.records": ("Feedback", "Group", "Program", "Sample", "TestResult"),
    "config": ("Config", "ExecutorConfig", "UserError", "load_config"),
    "evaluation.pass_at_k": ("Estimate", "mean_pass_at_k", "pass_at_k"),
    "executor.judge": ("InfrastructureFailure", "Judge"),
    "monitor.run_record": ("RunRecord",),
    "monitor.sample_columns": ("RecordedSample",),
    "problems": ("Problem", "ProblemSet", "TestSuite", "load_problems"),
}
_THERE = {"load_config": "load"}
"""What a name is called in its module, where it is another one."""


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            import importlib

            found: object = getattr(importlib.import_module(f"rltf.{module}"), _THERE.get(name, name))
            globals()[name] = found  # the next time it is there
            return found
    raise AttributeError(f"module 'rltf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

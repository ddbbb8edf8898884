"""How good a policy is: pass@k with its standard error, and what became of the programs it wrote."""

from evaluation.collector import Collected, HeldOutCollector
from evaluation.held_out import Example, HeldOut, before_and_after, summarise
from evaluation.pass_at_k import Estimate, mean_pass_at_k, pass_at_k
from evaluation.tasks import HeldOutTasks

__all__ = [
    "Collected",
    "Estimate",
    "Example",
    "HeldOut",
    "HeldOutCollector",
    "HeldOutTasks",
    "before_and_after",
    "mean_pass_at_k",
    "pass_at_k",
    "summarise",
]

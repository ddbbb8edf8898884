"""How good a policy is: pass@k with its standard error, and what became of the programs it wrote."""

from rltf.evaluation.pass_at_k import Estimate, mean_pass_at_k, pass_at_k
from rltf.evaluation.summary import Asked, Example, HeldOutResult, before_and_after, summarise

__all__ = [
    "Asked",
    "Estimate",
    "Example",
    "HeldOutResult",
    "before_and_after",
    "mean_pass_at_k",
    "pass_at_k",
    "summarise",
]

"""Problems, corpus and policy of a run, read and checked before anything is started."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from config import Config, UserError
from learner.critic import check_critic
from learner.export import check_weights, unsealed
from monitor.memory import Shape
from monitor.plan import ClusterFacts, Facts
from policy.checksums import is_sealed
from policy.encoding import too_long
from policy.policy import Policy, PolicySpec, build_policy, make_spec
from problems import Corpus, Problem, ProblemSet, Skipped, corpus_of, load_problems, prompt_of

_TOKENIZER_DRAWS = 2000
"""Corpus programs that a tokenizer is trained on, each with its prompt."""


@dataclass(frozen=True)
class Inputs:
    """What a run is made from."""

    problems: ProblemSet
    held_out: ProblemSet | None
    corpus: Corpus | None
    spec: PolicySpec
    parameters: int
    shape: Shape
    notes: tuple[str, ...] = ()
    """What the user is warned of beside problems that are left out."""

    @classmethod
    def of(cls, config: Config) -> Inputs:
        """Raises UserError for problems or a model that cannot be used."""
        wanted, seed = config.problems, config.run.seed
        problems = load_problems(wanted.train, seed=seed, checked=wanted.checked)
        held_out = load_problems(wanted.held_out, seed=seed, checked=wanted.checked, must_match=False) if wanted.held_out else None
        if held_out is not None:
            _refuse_shared(problems, held_out)
            held_out = held_out.sample(config.evaluation.tasks)
        problems = problems.sample(wanted.limit)
        learner, policy = config.learner, config.policy
        trains_tokenizer = not policy.model and policy.tokenizer == "train"
        supervised = config.warm_start.steps or learner.supervised_ratio or learner.objective == "supervised"
        corpus = corpus_of(problems) if supervised or trains_tokenizer else None
        texts: list[str] = []
        if corpus is not None and trains_tokenizer:
            rng = random.Random(f"{config.run.seed}:tokenizer")
            for _ in range(_TOKENIZER_DRAWS):
                prompt, program = corpus.draw(rng)
                texts += [prompt.text, program]
        spec = make_spec(policy, texts)
        unweighted = build_policy(spec, weights=False)
        problems = _without_too_long(unweighted, problems)
        # The one above served the tokenizer, and may have programs whose prompts do not fit.
        corpus = corpus_of(problems) if supervised else None
        notes: tuple[str, ...] = ()
        if config.warm_start.reuse:
            check_weights(unweighted, reused := Path(config.warm_start.reuse))
            notes += () if is_sealed(reused) else (unsealed(reused),)
        if learner.objective == "rltf" and config.rltf.critic_weighting:
            check_critic(Path(config.rltf.critic), unweighted)
        held_out = _without_too_long(unweighted, held_out) if held_out else None
        return cls(problems, held_out, corpus, spec, unweighted.parameters, Shape.of(unweighted.model.config), notes)

    @property
    def held_out_problems(self) -> tuple[Problem, ...]:
        """The held-out problems that are used."""
        return self.held_out.problems if self.held_out else ()

    @property
    def prompt(self) -> str:
        """A training problem's prompt, the shortest of the first few, as an example."""
        return min((prompt_of(problem).text for problem in self.problems.problems[:20]), key=len)

    @property
    def warnings(self) -> list[str]:
        """`notes`, and a sentence for each problem that is left out."""
        sets = [part for part in (self.problems, self.held_out) if part]
        return [*self.notes] + [f"problem {skipped.id} is left out: {skipped.reason}" for part in sets for skipped in part.skipped]

    def facts(self, config: Config, cluster: ClusterFacts, folder: Path) -> Facts:
        """What the plan shows of them."""
        return Facts(
            folder=str(folder),
            parameters=self.parameters,
            model=config.policy.model or f"fresh {config.policy.family}, {config.policy.layers} layers x {config.policy.d_model}",
            shape=self.shape,
            train_problems=len(self.problems),
            train_skipped=len(self.problems.skipped),
            held_out_problems=len(self.held_out_problems),
            held_out_skipped=len(self.held_out.skipped) if self.held_out else 0,
            cluster=cluster,
            redis="the server at redis.url" if config.redis.url else "a Redis server of the run's own",
        )


def _refuse_shared(train: ProblemSet, held_out: ProblemSet) -> None:
    shared = {problem.id for problem in train} & {problem.id for problem in held_out}
    if shared:
        raise UserError(
            f"{len(shared)} problem{'s have' if len(shared) > 1 else ' has'} the same id in problems.train ({train.name}) and "
            f"problems.held_out ({held_out.name}), the first {min(shared)}: held-out problems must be others, under other ids"
        )


def _without_too_long(policy: Policy, problems: ProblemSet) -> ProblemSet:
    """The problems whose prompt can be made to fit; the others are among the skipped. Raises UserError when none is left."""
    reasons = too_long(policy, {problem.id: prompt_of(problem) for problem in problems})
    kept = tuple(problem for problem in problems if problem.id not in reasons)
    if not kept:
        raise UserError(f"{problems.name}: no prompt fits; the first problem's reason: {next(iter(reasons.values()))}")
    return replace(problems, problems=kept, skipped=problems.skipped + tuple(Skipped(*reason) for reason in reasons.items()))

"""Problems, corpus and policy of a run, read and checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rltf.actors.engines import engine_named
from rltf.config import Config, PolicyConfig, UserCode, UserError
from rltf.config.prompt import AUTO, PROGRAMS
from rltf.evaluation.tasks import HeldOutTasks
from rltf.executor.checkers import require_checkers
from rltf.executor.judges import judge_named
from rltf.learner.critic import check_critic
from rltf.learner.export import check_weights, missing_checksums_warning
from rltf.learner.objectives import make_objective
from rltf.learner.task import hash_of_inputs
from rltf.monitor.memory import ModelShape
from rltf.monitor.plan import ClusterInfo, PlanInputs
from rltf.monitor.plan_evaluations import Evaluated
from rltf.policy.checksums import has_checksums
from rltf.policy.encoding import prompt_text, too_long
from rltf.policy.policy import Policy, PolicySpec, build_shape, make_spec
from rltf.policy.tokenizers import has_chat_template
from rltf.problems import (
    Corpus,
    Problem,
    ProblemSet,
    Skipped,
    corpus_of,
    load_problem_split,
    prompt_of,
    tokenizer_texts,
)
from rltf.problems.extraction import rule_named, rule_of
from rltf.problems.fields import foreign, mistakes
from rltf.telemetry.vocabulary import plural

_MAX_TOLD = 3
"""Problems left out that a warning names."""


@dataclass(frozen=True)
class Inputs:
    """What a run is made from."""

    problems: ProblemSet
    """To train on."""
    train_of: int
    """Problems that they were drawn from."""
    held_out: tuple[HeldOutTasks, ...]
    """What is evaluated: the main set and the further ones; none where nothing is."""
    left_out: tuple[tuple[str, Skipped], ...]
    """Problems of the data that are not used, each with the name of its set."""
    corpus: Corpus | None
    spec: PolicySpec
    parameters: int
    trained: int
    shape: ModelShape
    remarks: tuple[str, ...]
    """Sentences that are worth a warning."""
    not_read: str
    """Fields of the data that nobody reads and that are likely to be its own."""
    code: UserCode
    """The user's files, which this process imports too."""

    @classmethod
    def from_config(cls, config: Config, code: UserCode | None = None) -> Inputs:
        """`code`: the user's files, where they are not those of run.code.

        Raises UserError for problems, a model or a file of the user's that cannot be used.
        """
        code = UserCode.read(config.run.code) if code is None else code
        code.install()
        judge_named(config.executor.judge)
        engine_named(config.actors.engine)
        sets = load_problem_split(config.problems, config.run.seed, config.evaluation.specs)
        all_of = sets.parts
        problems = sets.train.sample(config.problems.limit)
        require_checkers(problem for part in all_of for problem in part)
        learner, policy = config.learner, config.policy
        trains_tokenizer = not policy.model and policy.tokenizer == "train"
        supervised = config.warm_start.steps or learner.supervised_ratio or learner.objective == "supervised"
        corpus = corpus_of(problems) if supervised or trains_tokenizer else None
        texts: list[str] = []
        if corpus is not None and trains_tokenizer:
            texts = tokenizer_texts(corpus, config.run.seed)
        spec = make_spec(policy, texts, config.prompt)
        rule = config.prompt.program
        rule_named(rule if rule != AUTO else "whole")
        unweighted = build_shape(spec)
        make_objective(config, unweighted.is_encoder_decoder)  # its reward too may be the user's own
        problems, too_long = _without_too_long(unweighted, problems)
        if not supervised:
            corpus = None  # the one above served the tokenizer
        elif too_long:
            corpus = corpus_of(problems)  # without programs whose prompts do not fit
        notes = tuple(
            f"no problem of {part.name} is trained on, so its weight does not count"
            for part in problems.parts
            if part.weight and not any(problem.id in part.ids for problem in problems)
        )
        if config.warm_start.reuse:
            check_weights(unweighted, reused := Path(config.warm_start.reuse))
            notes += () if has_checksums(reused) else (missing_checksums_warning(reused),)
        if config.objective.weighed_by_critic:
            check_critic(Path(config.rltf.critic), unweighted)
        unread = [one for part in all_of for one in part.unread]
        return cls(
            problems=problems,
            train_of=len(sets.train),
            held_out=tuple(
                _tasks(unweighted, part, name, config.evaluation.by_name[name].tasks)
                for name, part in sets.evaluated.items()
            ),
            left_out=tuple((part.name, skipped) for part in all_of for skipped in part.skipped)
            + tuple((problems.name, skipped) for skipped in too_long),
            corpus=corpus,
            spec=spec,
            parameters=unweighted.parameters,
            trained=unweighted.trained_parameters,
            shape=ModelShape.from_model_config(unweighted.model.config),
            remarks=(*sets.remarks, *mistakes(unread), *chat_warnings(policy, unweighted), *notes),
            not_read=foreign(unread),
            code=code,
        )

    @property
    def held_out_problems(self) -> tuple[Problem, ...]:
        """The held-out problems that programs are written for, of all sets."""
        return tuple({problem.id: problem for tasks in self.held_out for problem in tasks.asked}.values())

    @property
    def hash(self) -> str:
        """`learner.task.hash_of_inputs`."""
        held_out = {tasks.set: [problem.id for problem in tasks.asked] for tasks in self.held_out}
        return hash_of_inputs([problem.id for problem in self.problems], held_out, self.spec, self.code)

    @property
    def prompt(self) -> str:
        """A training problem's prompt as the model reads it, the shortest of the first few, as an example."""
        policy = build_shape(self.spec)
        return min((prompt_text(policy, prompt_of(problem)) for problem in self.problems.problems[:20]), key=len)

    @property
    def warnings(self) -> list[str]:
        """Sentences for plan and report; problems that are left out are told together, by set."""
        warnings = list(self.remarks)
        for name in dict.fromkeys(name for name, _ in self.left_out):
            skipped = [str(one) for of, one in self.left_out if of == name]
            more = (
                f"; and {len(skipped) - _MAX_TOLD:,} more, which the report lists" if len(skipped) > _MAX_TOLD else ""
            )
            number = f"{len(skipped):,} problem{'s' if len(skipped) > 1 else ''} of {name}"
            warnings.append(f"{number} left out: {'; '.join(skipped[:_MAX_TOLD])}{more}")
        for tasks in self.held_out:
            if tasks.too_long:
                of = f" of {tasks.set}" if tasks.set else ""
                count = f"{len(tasks.too_long):,} of {tasks.tasks:,} held-out problems{of}"
                warnings.append(
                    f"no program can be written for {count}, which count as not solved; the first, {tasks.too_long[0]}"
                )
        return warnings

    def facts(self, config: Config, cluster: ClusterInfo, folder: Path) -> PlanInputs:
        """What the plan shows of them."""
        train = self.problems.name
        layers = f"{config.policy.layers} {plural('layer', config.policy.layers)}"
        asserts = any(problem.prompt_style == "mbpp" for problem in (*self.problems, *self.held_out_problems))
        return PlanInputs(
            folder=str(folder),
            parameters=self.parameters,
            trained=self.trained,
            model=config.policy.model or f"fresh {config.policy.family}, {layers} x {config.policy.d_model}",
            shape=self.shape,
            train_problems=len(self.problems),
            train_of=self.train_of,
            train_skipped=sum(name == train for name, _ in self.left_out),
            held_out={tasks.set: Evaluated(tasks.tasks, str(tasks)) for tasks in self.held_out},
            cluster=cluster,
            redis="the server at redis.url" if config.redis.url else "a Redis server of the run's own",
            not_read=self.not_read,
            shown_tests=config.problems.shown_tests if asserts else None,
            prompts=self._prompts_in_words(),
            shares=_shares(self.problems),
        )

    def _prompts_in_words(self) -> str:
        """How the first problem is put to the model, and what of a response is its program."""
        config, chat = self.spec.prompt, self.spec.chat is not None
        problem = self.problems.problems[0]
        rule = rule_of(config, prompt_of(problem), chat)
        how = "turns in the chat template of the tokenizer" if chat else "raw text"
        parts = ", of it the definitions that are needed" if config.runs == "definitions" else ""
        return f"{how}, style {problem.prompt_style}; the program is {PROGRAMS.get(rule, rule)} ({rule}){parts}"


def _shares(problems: ProblemSet) -> str:
    """How the visits are shared out, in words; empty where no set has a weight."""
    total = sum(weight for weight, _ in problems.shares)
    parts = [part for part in problems.parts if any(problem.id in part.ids for problem in problems)]
    return ", ".join(f"{part.weight / total:.3g} of {part.name}" for part in parts) if total else ""


def _tasks(policy: Policy, problems: ProblemSet, name: str, most: int) -> HeldOutTasks:
    """At most so many problems of a held-out set, those included that cannot be asked. Raises UserError when none
    can.
    """
    drawn = problems.sample(most)
    asked, too_long = _without_too_long(policy, drawn)
    return HeldOutTasks(problems.name, len(problems), asked.problems, too_long, name)


def _without_too_long(policy: Policy, problems: ProblemSet) -> tuple[ProblemSet, tuple[Skipped, ...]]:
    """The problems whose prompt can be made to fit, and the others. Raises UserError when none is left."""
    reasons = too_long(policy, {problem.id: prompt_of(problem) for problem in problems})
    kept = tuple(problem for problem in problems if problem.id not in reasons)
    if not kept:
        raise UserError(f"{problems.name}: no prompt fits; the first problem's reason: {next(iter(reasons.values()))}")
    return replace(problems, problems=kept), tuple(Skipped(*reason) for reason in reasons.items())


def chat_warnings(config: PolicyConfig, policy: Policy) -> list[str]:
    """A warning where the model was made for conversations and is not asked in one, without having been told so, and
    where the prompts change with the day.
    """
    spec = policy.spec
    if spec.chat is not None and spec.chat.writes_today:
        return [
            f"the chat template of {config.model or config.tokenizer} writes today's date into the prompt, which is "
            "another one tomorrow: prompt.date names a day for good"
        ]
    if spec.chat is not None or spec.prompt.format == "raw" or not has_chat_template(config.model, policy.tokenizer):
        return []
    return [
        f"policy.model {config.model} has a chat template, as models made for conversations have, and the tokenizer "
        f"{config.tokenizer} has none: prompts are raw text, and a response with words around its program is a compile "
        "error; leave policy.tokenizer out, or set prompt.format raw"
    ]

"""Every metric, declared once: status line, `launch.py status`, Ray's metrics, TensorBoard, the report and
docs/metrics.md read it here.

A number that is not declared, of an objective from outside for instance, is kept in its row, and shown by gauges and
TensorBoard.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

Source = Literal["step", "held_out", "count", "gauge", "phase", "run", "service"]
"""Where a metric comes from: a field of a row of metrics.jsonl or held_out.jsonl, a counter, gauge or phase of a
worker's recorder, a number that the driver makes of all of these (`monitor.state.RunState.numbers`), or the service
that `serve` starts (`executor.service.metrics`)."""

Place = Literal["gauge", "tensorboard", "status"]
"""Where a metric shows beside the status line and the report: as a metric of Ray, which Prometheus reads; in
TensorBoard; in what `launch.py status` prints."""

EVERYWHERE: tuple[Place, ...] = ("gauge", "tensorboard")
"""Those of most numbers."""


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of the status line."""

    rank: int
    """Where there is no room for all the highest go first; `ALWAYS` stays."""
    text: str = ""
    """A format string over the status line's numbers, left out where one of them is absent; empty: the piece tells more
    than numbers, and `monitor.status_line` words it."""
    short: str = ""
    """What stands for it where there is little room; empty: the same."""


ALWAYS = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Its name is the one on the wire; a `*` in it stands for a part that differs."""

    name: str
    meaning: str
    """A sentence."""
    unit: str = ""
    """`share`: 0 to 1; `s`: seconds; empty: a number without one."""
    by: tuple[str, ...] = ()
    """Kinds of workers whose recorders have it."""
    keys: tuple[str, ...] = ()
    """Of a mapping in a row, where they are known beforehand."""
    shows: tuple[Place, ...] = EVERYWHERE
    line: Line | None = None
    report: str = ""
    """Heading of the section of report.md that shows it."""
    busy: bool = False
    """Of a phase: whether it is generation or training, in which actors and learner are to overlap."""


STEP_FIGURES = "Figures of the steps"
_CURVE, _MIX, _AGES = "Held-out pass@1", "What went wrong in the programs", "How old the samples were"
_SECONDS, _RATES, _LEDGER = "Where the seconds go", "Throughput", "What became of every program"

_LEARNER, _ACTOR, _EXECUTOR, _RUN = ("learner",), ("actor",), ("executor",), ("run",)

_held_out, _gauge = partial(Metric, shows=("tensorboard",)), partial(Metric, shows=("gauge",))

METRICS: dict[Source, tuple[Metric, ...]] = {
    "step": (
        Metric("step", "Number of the learner step, from 1.", shows=("gauge",), line=Line(ALWAYS)),
        Metric("time", "When the step ended.", "s since 1970", shows=()),
        Metric("training_s", "Training so far, over all attempts.", "s"),
        Metric("version", "The learner's policy version in the step."),
        Metric("objective", "What the step minimised, by the name that `learner.objective` gives it.", shows=()),
        Metric("loss", "What the step minimises.", line=Line(2, "loss {loss:+.4f}"), report=STEP_FIGURES),
        Metric("loss_terms", "Each term's part of the loss; they add up to it."),
        Metric("gradient_norm", "Norm of the gradient before it is clipped.", report=STEP_FIGURES),
        Metric("skipped", "1 where the gradient overflowed in float16 and was not applied; else absent."),
        Metric("learning_rate", "The learning rate."),
        Metric(
            "entropy",
            "Mean over the program tokens that are computed, of the policy's entropy.",
            "nats",
            report=STEP_FIGURES,
        ),
        Metric(
            "kl_to_sampler",
            "Mean over the sampled tokens that are computed of e^d - 1 - d, d the log of the trained policy's "
            "probability over the sampling one's: how far training has moved since.",
            "nats",
            report=STEP_FIGURES,
        ),
        Metric(
            "kl_to_previous_version",
            "`kl_to_sampler` over the programs of the version before the newest alone: how far one version is from the "
            "next; absent where that version wrote none.",
            "nats",
        ),
        Metric(
            "kl_to_reference",
            "Mean over the sampled tokens that are computed of the divergence from the reference, with `kl`.",
            "nats",
            report=STEP_FIGURES,
        ),
        Metric(
            "clip_share",
            "Of the sampled tokens that are computed, those at which the clip of the ratio decides.",
            "share",
        ),
        Metric(
            "capped_share", "Of the sampled tokens that are computed, those at which `importance_cap` decides.", "share"
        ),
        Metric(
            "floor_share", "Of the sampled tokens that are computed, those at which `log_prob_floor` decides.", "share"
        ),
        Metric("samples", "Sampled programs, greedy ones not counted.", "programs"),
        Metric("groups", "Visits of problems that the step trained on."),
        Metric(
            "pass_rate",
            "Of the sampled programs, those that passed.",
            "share",
            shows=("gauge", "tensorboard", "status"),
            line=Line(1, "pass {pass_rate:.0%}"),
            report=STEP_FIGURES,
        ),
        Metric("reward", "Mean reward of the sampled programs.", report=STEP_FIGURES),
        Metric(
            "outcomes",
            "Sampled programs by outcome.",
            "programs",
            keys=("pass", "failure", "runtime_error", "compile_error"),
            report=_MIX,
        ),
        Metric(
            "error_types",
            "Sampled programs that did not pass, by error type. Programs name these: in the row and the report alone.",
            "programs",
            shows=(),
            report=_MIX,
        ),
        Metric("length", "Mean length of the programs.", "tokens", report=STEP_FIGURES),
        Metric(
            "program_share",
            "Of the sampled responses, those that hold a program; the others are compile errors of the type NoProgram.",
            "share",
            shows=("gauge", "tensorboard", "status"),
            report=STEP_FIGURES,
        ),
        Metric("truncated_share", "Of the sampled programs, those cut off at the token limit.", "share"),
        Metric(
            "staleness",
            "Policy versions between sampling and training, mean over the sampled programs.",
            "versions",
            shows=("gauge", "tensorboard", "status"),
            report=STEP_FIGURES,
        ),
        Metric("staleness_max", "The greatest staleness of a sampled program.", "versions"),
        Metric("ages", "Sampled programs by their staleness.", "programs", shows=("tensorboard",), report=_AGES),
        Metric(
            "zero_advantage_share", "Of the sampled programs, those without any weight.", "share", report=STEP_FIGURES
        ),
        Metric(
            "fates", "Programs by what the step made of them.", "programs", keys=("trained", "baseline", "no_signal")
        ),
        Metric(
            "fine",
            "`rltf`: sampled programs by class of error; `no_line` where no token can be blamed.",
            "programs",
            keys=("U_global", "U_line", "U_ignore", "no_error", "no_line"),
        ),
        Metric("baselines", "`rltf`: of each visit the coarse and the adaptive baseline reward.", shows=()),
        Metric("supervised_programs", "Programs of the corpus in the step.", "programs"),
        Metric("tokens", "Program tokens that are computed.", "tokens"),
        Metric(
            "tokens_per_second",
            "Program tokens computed, over the seconds of computation.",
            "tokens/s",
            report=STEP_FIGURES,
        ),
        Metric("padding_share", "Of the computed positions, those that are padding.", "share"),
        Metric("shared_share", "Of the tokens, those not computed because another program begins alike.", "share"),
        Metric(
            "seconds",
            "What rank 0 spent the step's time on; `frozen` is the models of `kl` and of the critic, `prepare` weights "
            "and plan.",
            "s",
            keys=("wait", "read", "prepare", "frozen", "collate", "forward", "backward", "step", "publish"),
        ),
        Metric("sample_ids", "The sampled programs, for `replay`.", shows=()),
        Metric("rewards", "Rewards of the sampled programs, for `replay`.", shows=()),
        Metric("fingerprints", "Of each visit a hash of all that the step made of it, for `replay`.", shows=()),
    ),
    "held_out": (
        _held_out("label", "Name of the evaluation.", shows=()),
        _held_out("set", "Name of a further held-out set; absent for `problems.held_out`.", shows=()),
        _held_out("step", "Learner step after which it was asked for.", shows=(), report=_CURVE),
        _held_out("seconds", "Training until then, from the first training program on.", "s", report=_CURVE),
        _held_out("time", "When its last verdict was read.", "s since 1970", shows=()),
        _held_out(
            "pass@*",
            "pass@k, mean over the tasks.",
            "share",
            shows=("tensorboard", "status"),
            report=_CURVE,
        ),
        _held_out("pass@*_se", "Standard error of pass@k over the tasks.", "share", report=_CURVE),
        _held_out(
            "max@*",
            "max@k: share of tests that the best of k programs passes, mean over the tasks.",
            "share",
            shows=("tensorboard", "status"),
            report=_CURVE,
        ),
        _held_out("max@*_se", "Standard error of max@k over the tasks.", "share", report=_CURVE),
        _held_out("tasks", "Problems that count."),
        _held_out("samples", "Programs that were judged.", "programs"),
        _held_out("missing", "Problems without a single verdict; they count as not passed."),
        _held_out("lost", "Programs without a verdict; they count as not passed.", "programs"),
        _held_out("not_asked", "Problems whose prompt does not fit; they count as not passed."),
        _held_out("versions", "Policy versions that wrote the programs.", shows=()),
        _held_out(
            "outcomes",
            "Programs by outcome.",
            "programs",
            keys=("pass", "failure", "runtime_error", "compile_error"),
            report=_CURVE,
        ),
        _held_out("program_share", "Of the responses, those that hold a program.", "share", report=_CURVE),
        _held_out("error_types", "Programs that did not pass, by error type.", "programs", shows=()),
    ),
    "count": (
        _gauge(
            "programs",
            "Programs that an actor wrote, or that an executor judged.",
            by=_ACTOR + _EXECUTOR,
            report=_RATES,
        ),
        _gauge("tokens", "Program tokens sampled.", by=_ACTOR),
        _gauge("corrupt_versions", "Versions refused because of their checksum.", by=_ACTOR),
        _gauge("unavailable_versions", "Versions that could not be fetched.", by=_ACTOR),
        _gauge("cached", "Programs whose verdict was known from one of the same text.", by=_EXECUTOR),
        _gauge("late_verdicts", "Verdicts that another executor's forestalled.", by=_EXECUTOR),
        _gauge("infrastructure_failures", "Programs that went back to the queue without a verdict.", by=_EXECUTOR),
        _gauge("micro_batches", "Micro-batches computed, of the warm start too.", by=_LEARNER),
        _gauge("samples", "Sampled programs of the steps.", by=_LEARNER, report=_RATES),
        _gauge("supervised_programs", "Programs of the corpus in the steps.", by=_LEARNER),
        _gauge("warm_start_programs", "Programs of the corpus that the warm start trained on.", by=_LEARNER),
        _gauge("versions_restored", "Newest versions published again, for a new weight store.", by=_LEARNER),
    ),
    "gauge": (
        _gauge(
            "version",
            "Policy version that an actor samples with, or that the learner has.",
            by=_ACTOR + _LEARNER,
        ),
        _gauge("warm_start_step", "Steps of the warm start so far.", by=_LEARNER, line=Line(ALWAYS)),
        _gauge("warm_start_loss", "Newest loss of the warm start.", by=_LEARNER),
        _gauge(
            "warm_start_passed", "Sampled programs that passed when it was last asked whether one does.", by=_LEARNER
        ),
        _gauge("checkpoint", "Learner step of the newest checkpoint.", by=_LEARNER),
        _gauge(
            "stopped_early",
            "Evaluations without a better `evaluation.best_by` after which training ended; absent where it did not.",
            by=_LEARNER,
        ),
    ),
    "phase": (
        _gauge("build", "Loads the policy and sets up the engine.", by=_ACTOR + _LEARNER),
        _gauge("wait", "Waits for the part that `waits_for` names.", by=_ACTOR + _EXECUTOR + _LEARNER),
        _gauge("generate", "Samples training programs.", by=_ACTOR, busy=True),
        _gauge("evaluate", "Samples programs of an evaluation.", by=_ACTOR),
        _gauge("load_weights", "Takes a version into its model.", by=_ACTOR),
        _gauge("grade", "Judges programs.", by=_EXECUTOR),
        _gauge("train", "A reinforcement step.", by=_LEARNER, busy=True),
        _gauge("train_supervised", "A supervised step.", by=_LEARNER, busy=True),
        _gauge("publish", "Hands a version to the actors.", by=_LEARNER),
        _gauge("checkpoint", "Writes a checkpoint.", by=_LEARNER),
        _gauge("export", "Writes the export.", by=_LEARNER),
        _gauge("warm_start", "Trains on the corpus, before the first version.", by=_LEARNER + _RUN),
        _gauge("training", "The run trains.", by=_RUN),
        _gauge("imitation", "The run trains on the corpus alone.", by=_RUN),
        _gauge("final_evaluation", "The run's last evaluation is under way.", by=_RUN),
        _gauge("evaluation", "A model that does not change is evaluated, without a learner.", by=_RUN),
        _gauge("done", "The run ends its parts.", by=_RUN),
    ),
    "run": (
        _gauge(
            "policy_lag",
            "`staleness` of the newest step; before there is one, the learner's version less the oldest actor's.",
            "versions",
            line=Line(3, "lag {policy_lag:.1f}"),
        ),
        _gauge(
            "held_out_pass_at_1",
            "pass@1 of the newest held-out evaluation.",
            "share",
            line=Line(
                5,
                "held-out {held_out_pass_at_1:.2f} at step {held_out_step:.0f}",
                "held-out {held_out_pass_at_1:.2f}",
            ),
        ),
        _gauge("held_out_step", "Learner step of the newest held-out evaluation.", shows=()),
        _gauge(
            "held_out_pass_at_1_*",
            "pass@1 of the newest evaluation of the set that `evaluation.sets` names so.",
            "share",
            line=Line(6),
        ),
        _gauge("held_out_step_*", "Learner step of that evaluation.", shows=()),
        _gauge(
            "share_*",
            "Of the newest step's sampled programs, those with that outcome.",
            "share",
            line=Line(
                3, "wrong {share_failure:.0%} runtime {share_runtime_error:.0%} syntax {share_compile_error:.0%}"
            ),
        ),
        _gauge(
            "*_per_second", "Programs generated, graded and trained on, over the last 10 s.", "programs/s", line=Line(5)
        ),
        _gauge("ledger_*", "Programs of training with that place or fate.", "programs", line=Line(8), report=_LEDGER),
        _gauge(
            "ledger_balances",
            "1, or 0 once a check found programs without exactly one place or fate.",
            line=Line(ALWAYS),
            report=_LEDGER,
        ),
        _gauge(
            "wait_share_*_for_*",
            "Of the last 10 s of workers of that kind, those spent waiting for that part.",
            "share",
            line=Line(4),
            report=_SECONDS,
        ),
    ),
    "service": (
        _gauge("service_requests", "Requests that were answered, by path and HTTP status.", "requests"),
        _gauge(
            "service_programs",
            "Programs by outcome; `unjudged`: no verdict could be had, `bad_line`: the line was none, `cancelled`: the "
            "client had gone.",
            "programs",
        ),
        _gauge("service_open_requests", "Requests that are being answered.", "requests"),
        _gauge("service_waiting_requests", "Requests that wait for their turn.", "requests"),
        _gauge("service_lanes", "Programs that are judged at the same time."),
        _gauge("service_seconds", "From a request's head to the end of its answer, a histogram by path.", "s"),
    ),
}
"""By where they come from. The status line has its pieces in this order."""

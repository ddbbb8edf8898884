"""The command `evaluate` where programs are sampled: a run's actors, queue and executors without a learner."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from rich.console import Console

from rltf.actors.engines import engine_named
from rltf.buffer.connection import DataLost, connect
from rltf.config import Config, UserError
from rltf.config.user_code import UserCode
from rltf.driver import RunFailed
from rltf.driver.attempt import wire
from rltf.driver.evaluation_folder import actors_at_start, open_folder
from rltf.driver.evaluation_output import show, write_results
from rltf.driver.evaluation_sets import load_sets
from rltf.driver.evaluation_tracker import EvaluationTracker, parts_of
from rltf.driver.failures import raising_run_failed
from rltf.driver.inputs import Inputs, chat_warnings
from rltf.driver.nodes import NodeKinds
from rltf.driver.ray_address import find_cluster_address
from rltf.driver.ray_cluster import STARTED_HERE, await_gpus, ray_cluster, start_timeout_s
from rltf.driver.ray_thread import CALL_TIMEOUT_S, OnRayThread, RayThread
from rltf.driver.result import Result
from rltf.driver.run import run
from rltf.driver.stopping import stopping, tell_guard
from rltf.driver.supervisor import START_TIMEOUT_S
from rltf.evaluation.scores import SetScores
from rltf.executor.judges import judge_named
from rltf.monitor.memory import ModelShape
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from rltf.monitor.status import print_warnings
from rltf.policy.encoding import too_long
from rltf.policy.policy import build_shape, make_spec
from rltf.problems import ProblemSet, Skipped, prompt_of
from rltf.problems.fields import foreign, mistakes
from rltf.telemetry.console import counted, warn


class EvaluationResult(Result):
    """How an attempt of an evaluation ends: the figures are made afterwards, from what its folder has."""

    def report(self) -> None:
        """Writes result.json. Raises the OSError or DiskFailure of it."""
        attempt = self._attempt
        attempt.folder.close()
        warnings = self._warnings()
        for sentence in warnings:
            if sentence not in attempt.inputs.warnings:
                warn(sentence)
        attempt.folder.write_result(self._values(warnings))


def evaluate(config: Config, problems: str, samples: int, name: str, out: Path, console: Console) -> bool:
    """Samples and judges programs for the problems of SPECs, and writes the results; whether all have a verdict.

    `config`: that of a run whose folder is `out` (`evaluation_folder.placed`). What the folder has is not sampled
    again.

    Raises:
        UserError: problems, model, Redis or resources are not what was said, or the evaluation is going on.
        RunFailed: a part failed for good, or nothing moved for run.stall_timeout_s.
        KeyboardInterrupt: the user stopped it; everything that it started has ended.
    """
    console.print("Reading problems and model ...")
    code = UserCode.read(config.run.code)
    code.install()
    sets = load_sets(problems, config)
    inputs, unfit = _inputs(config, sets, code)
    if config.redis.url:
        connect(config.redis.url, config.redis.timeout_s).close()  # one that cannot be used is told before Ray starts
    ids = [problem.id for problem in inputs.problems]
    with ExitStack() as stack:
        stack.enter_context(raising_run_failed(out))
        asked = {"model": config.policy.model, "problems": problems, "samples": samples}
        folder = stack.enter_context(closing(open_folder(out, config, asked)))
        stack.enter_context(locked(folder.path))
        if not folder.finished:
            for sentence in inputs.warnings:
                warn(sentence)
            many = f"{counted(len(ids) * samples, 'program')} of {counted(len(ids), 'problem')}"
            console.print(f"Evaluating {name}: {many}, {config.evaluation.sampling}", markup=False)
            _sample(config, inputs, folder, samples, console)
        facts = {
            "model": name,
            "parameters": inputs.parameters,
            "samples": samples,
            "temperature": config.evaluation.temperature,
            "top_p": config.evaluation.top_p,
            "dtype": config.actors.dtype,
            "seconds": folder.result().get("seconds", {}),
        }
        per_problem = dict.fromkeys(ids, samples)
        scores = [SetScores.of(one.name, one.problems, per_problem, unfit, one.skipped) for one in sets]
        results = write_results(folder, scores, config.evaluation.ks, config.run.seed, facts)
        return show(folder, results, console)


def _inputs(config: Config, sets: Sequence[ProblemSet], code: UserCode) -> tuple[Inputs, list[Skipped]]:
    """What programs are written for and with; and the problems whose prompt does not fit.

    Raises UserError for a model that cannot be used, and where no prompt fits.
    """
    judge_named(config.executor.judge)
    engine_named(config.actors.engine)
    spec = make_spec(config.policy, [], config.prompt)
    policy = build_shape(spec)
    everything = [problem for one in sets for problem in one]
    unfit = [Skipped(*reason) for reason in too_long(policy, {one.id: prompt_of(one) for one in everything}).items()]
    left_out = {skipped.id for skipped in unfit}
    fitting = tuple(problem for problem in everything if problem.id not in left_out)
    if not fitting:
        raise UserError(f"no prompt fits; the first, {unfit[0]}")
    unread = [one for part in sets for one in part.unread]
    remarks = [*mistakes(unread), *chat_warnings(config.policy, policy)]
    if unfit:
        remarks.append(f"{counted(len(unfit), 'problem')} will count as failed; the first, {unfit[0]}")
    inputs = Inputs(
        problems=ProblemSet(config.problems.train, fitting),
        train_of=len(everything),
        held_out=(),
        left_out=tuple((part.name, skipped) for part in sets for skipped in part.skipped),
        corpus=None,
        spec=spec,
        parameters=policy.parameters,
        trained=policy.trained_parameters,
        shape=ModelShape.from_model_config(policy.model.config),
        remarks=tuple(remarks),
        not_read=foreign(unread),
        code=code,
    )
    return inputs, unfit


def _sample(config: Config, inputs: Inputs, folder: RunFolder, samples: int, console: Console) -> None:
    """Has every program written and judged that the folder does not have yet."""
    problem_ids = [problem.id for problem in inputs.problems]
    parts = parts_of(problem_ids, samples, config.actors, actors_at_start(folder))
    goes_on = folder.attempts() > 0
    if goes_on:
        print_warnings(folder.look_through())
    with ExitStack() as stack:
        stopping.work()
        calls = RayThread()
        stack.callback(calls.close)
        console.print("Starting Ray ..." if find_cluster_address(config).starts_here else "Joining Ray ...")
        cluster = stack.enter_context(OnRayThread(calls, "Ray", ray_cluster(config, warn), START_TIMEOUT_S))
        stopping.reinstall_handlers()
        calls.find_processes()
        say = partial(console.print, markup=False)
        calls.call("the list of GPUs", partial(await_gpus, config, cluster, say), config.ray.wait_s + CALL_TIMEOUT_S)
        tell_guard(run=str(folder.path))
        try:
            kinds = NodeKinds(config.ray.kinds, joined=cluster.found != STARTED_HERE)
            attempt = wire(
                config,
                inputs,
                folder,
                console,
                calls,
                stack,
                None,
                goes_on,
                lambda flow, _: EvaluationTracker(flow, parts, config.actors.count),
            )
            run(attempt, kinds, start_timeout_s(config, cluster), EvaluationResult)
        except DataLost as error:
            raise RunFailed(f"{error}; it cannot go on without them: evaluate into another --out") from error
        finally:
            stopping.end()
            if not folder.finished:
                console.print(f"The same command goes on with {folder.path}, and samples nothing twice.", markup=False)

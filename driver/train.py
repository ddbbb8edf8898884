"""The train command: problems and policy in, a run folder with a better policy out."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from rltf.buffer.connection import DataLost, connect, durability_warnings
from rltf.config import Config, UserError, run_files
from rltf.driver import RunFailed, resume_checks
from rltf.driver.attempt import wire
from rltf.driver.detach import detached
from rltf.driver.failures import raising_run_failed
from rltf.driver.inputs import Inputs
from rltf.driver.nodes import NodeKinds
from rltf.driver.ray_address import find_cluster_address
from rltf.driver.ray_cluster import STARTED_HERE, await_gpus, ray_cluster, start_timeout_s, this_machine
from rltf.driver.ray_thread import CALL_TIMEOUT_S, OnRayThread, RayThread
from rltf.driver.resume import code_of
from rltf.driver.run import run
from rltf.driver.stopping import stopping, tell_guard
from rltf.driver.supervisor import START_TIMEOUT_S
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.checkpoints import Checkpoints
from rltf.monitor.new_run import planned
from rltf.monitor.plan import make_plan
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from rltf.monitor.run_record import RunRecord
from rltf.monitor.status import print_plan, print_warnings
from rltf.program import PROGRAM
from rltf.telemetry.console import warn


def train(config: Config, preset: str, dry_run: bool, console: Console, resume: Path | None = None) -> None:
    """One run from its problems to its report.

    With `dry_run` the plan is printed and nothing is started; a cluster that runs is joined to see it.

    `resume`: folder of the run that goes on.

    Raises:
        UserError: problems, model, Redis or resources are not what the configuration says, or the run is still going
            on.
        RunFailed: a part failed for good, or nothing moved for run.stall_timeout_s.
        KeyboardInterrupt: the user stopped the run; everything it started has ended.
    """
    console.print("Reading problems and model ...")
    inputs = Inputs.from_config(config, code_of(config, resume) if resume else None)
    if config.redis.url:
        with closing(
            connect(config.redis.url, config.redis.timeout_s)
        ) as server:  # one that cannot be used is told before Ray starts
            inputs = replace(inputs, remarks=(*inputs.remarks, *durability_warnings(server, config.redis.url)))
    if resume is None:
        planned(config, preset)  # so is a name that cannot be used
    saved: Checkpoint | None = None
    with ExitStack() as stack:
        stack.enter_context(raising_run_failed(resume or Path(config.run.folder)))
        if resume is not None:
            earlier = RunRecord.open(resume)
            stack.enter_context(locked(earlier.path))
            checkpoints = Checkpoints.of_run(earlier.path)
            saved = checkpoints.required()
            resume_checks.check_folder(earlier, saved)
            if saved is not None:
                saved.require_inputs(inputs.hash)
            print_warnings(checkpoints.passed_over)
            if config.redis.url and earlier.finished:
                raise UserError(
                    f"the run in {resume} has ended and what it kept at redis.url is deleted: begin a new run from "
                    "its export"
                )
        say = partial(console.print, markup=False)
        stopping.work()
        calls = RayThread()
        stack.callback(calls.close)
        if dry_run and find_cluster_address(config).starts_here:
            cluster = this_machine(config)
        else:
            say("Starting Ray ..." if find_cluster_address(config).starts_here else "Joining Ray ...")
            cluster = stack.enter_context(OnRayThread(calls, "Ray", ray_cluster(config, warn), START_TIMEOUT_S))
            stopping.reinstall_handlers()
            calls.find_processes()
        folder: RunFolder | None = None
        if not dry_run:
            calls.call(
                "the list of GPUs", partial(await_gpus, config, cluster, say), config.ray.wait_s + CALL_TIMEOUT_S
            )
            folder = RunFolder.resume(resume, config) if resume is not None else RunFolder.create(config, preset)
            if resume is not None:
                print_warnings(folder.look_through())
            stack.enter_context(closing(folder))
            if resume is None:
                stack.enter_context(locked(folder.path))
                inputs.code.write(folder.path / run_files.CODE)
        path = folder.path if folder is not None else resume or planned(config, preset)
        print_plan(console, make_plan(config, inputs.facts(config, cluster, path)))
        print_warnings(inputs.warnings, shown=None if dry_run else 5)
        if folder is None:
            return
        tell_guard(run=str(folder.path))
        detached.announce(folder.path.absolute() / run_files.OUTPUT)
        resumable = True
        try:
            kinds = NodeKinds(config.ray.kinds, joined=cluster.found != STARTED_HERE)
            attempt = wire(config, inputs, folder, console, calls, stack, saved, resume is not None)
            run(attempt, kinds, start_timeout_s(config, cluster))
        except DataLost as error:
            resumable = False
            raise RunFailed(
                f"{error}; it cannot go on without them: {resume_checks.recovery_advice(folder.path)}"
            ) from error
        except (RunFailed, UserError) as error:
            resumable = isinstance(error, RunFailed) and error.resumable
            raise
        finally:
            stopping.end()
            if resumable and Checkpoints.of_run(folder.path).steps() and not folder.finished:
                console.print(f"This run can go on: {PROGRAM} --resume {folder.path}", markup=False)

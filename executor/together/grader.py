"""A program and tests that run in its process: when is a pass to be believed?

What is reported there may be forged, but not what nobody in there knows. Where a test compares with a value that is
written in it, the process is not told the value: the judge has it, and compares. For the rest a pass counts only after
counter-checks: the same program meets, in further processes, the same tests with a secret random half of those
assertions altered, and has to fail exactly these. Each is one bit that a cheat has to guess.
"""

from __future__ import annotations

import marshal
import random
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from rltf.buffer.records import Feedback
from rltf.executor import protocol
from rltf.executor.grading import BROKEN, Grader
from rltf.executor.labels import NOT_RUN, Report, Verdict, verdict_of_death
from rltf.executor.lane import ProcessExit
from rltf.executor.together.plan import Form, Plan, Values
from rltf.executor.together.reading import CHEATING, UNKNOWN, Malformed, Told, read

BITS = 10
"""So many assertions, over all counter-checks, have a chance of one half to be altered."""
MAX_COUNTER_CHECKS = BITS


class TogetherGrader(Grader):
    """Grades one program whose tests share its process; one use each."""

    _forms: Mapping[int, Form] = {}
    _told: dict[int, Told]
    _values: Mapping[int, Values] = {}
    """Per test what its assertions compute as expected."""

    @property
    def _plan(self) -> Plan:
        assert self._ready.plan is not None
        return self._ready.plan

    def grade(self) -> Feedback:
        """Raises LaneFailure when the lane broke: that says nothing about the program."""
        everything = list(range(self._ready.count))
        verdicts = self._all(everything, {})
        sites = self._plan.sites
        # Values that only Python can compare: with what is expected beside them, this time.
        answers = [answer for told in self._told.values() for answer in told.answers]
        open_sites = {answer.site for answer in answers if answer.held is None and sites[answer.site].kind == "value"}
        shown: dict[int, Form] = {site: "true" for site in sorted(open_sites)}
        if shown and not any(verdict.outcome in ("compile_error", "not_run") for verdict in verdicts):
            verdicts = self._all(everything, shown)
        results = self._told
        if all(verdict.outcome == "pass" for verdict in verdicts):
            doubt = self._counter_checked(everything, {*shown, *self._plan.rich_sites}, results)
            if doubt is not None:
                verdicts = doubt
        feedback = self._feedback(self._by_statement(verdicts, results))
        if len(verdicts) == 1 and verdicts[0].outcome not in ("pass", "not_run"):
            # Of several statements it is the first that decides, as for Python.
            (whole,) = verdicts
            assert whole.outcome != "not_run"
            feedback = msgspec.structs.replace(
                feedback,
                outcome=whole.outcome,
                error_type=whole.error_type,
                line=whole.line,
                message=whole.message,
            )
        return feedback

    def _all(self, indices: list[int], forms: Mapping[int, Form]) -> list[Verdict]:
        self._forms, self._told = forms, {}
        if self._plan.afresh and not forms:
            return self._verdicts(indices)
        return self._each_alone(indices) if self._alone else self._settled(self._run(indices))

    def _some(self, indices: list[int], grace: bool) -> list[Verdict]:
        """One process: at least one verdict, for the first so many of `indices`."""
        values: dict[int, list[Any]] = {}
        for index in indices:
            for site, computed in self._values.get(index, {}).items():
                values.setdefault(site, []).extend(computed)
        job = self._plan.job(self._program, indices, self._forms, random.Random(secrets.randbits(128)), values)
        body = marshal.dumps(job, protocol.JOB_FORMAT)
        (ended,) = self._lane.run(self._request(protocol.RUN, len(indices), grace), body)
        self._usage.add(ended)
        try:
            told, rest = read(ended.report, self._plan.sites, len(indices), frozenset(self._forms))
        except Malformed:
            return [BROKEN]
        verdicts: list[Verdict] = []
        for index, one in zip(indices, told, strict=False):
            if one.end is None:
                break
            if one.end.outcome == "compile_error":
                return [one.end]
            self._told[index] = one
            verdicts.append(replace(_first(one), cpu_s=one.cpu_s))
        if len(verdicts) < len(indices):
            began = told[len(verdicts)] if len(verdicts) < len(told) else Told()
            self._told[indices[len(verdicts)]] = began
            verdicts.append(self._died(ended, rest, began, sum(verdict.cpu_s for verdict in verdicts)))
        self._unaccounted_s = ended.cpu_s - sum(verdict.cpu_s for verdict in verdicts)
        if self._has_unaccounted_time() and not self._plan.afresh:
            verdicts[-1] = replace(verdicts[-1], cpu_s=verdicts[-1].cpu_s + self._unaccounted_s)
        return verdicts

    def _died(self, ended: ProcessExit, rest: bytes, began: Told, before_s: float) -> Verdict:
        report = Report(rest, ())
        report.last_words = rest.decode("utf-8", "replace")
        died = verdict_of_death(self._ready, -1, ended, report, 0, self._time_limit_s, self._lane.contained)
        began.end = died
        # Of what was said before its end the first failure counts, unless the end is one that concerns what comes next.
        first = died if died.error_type == "TimeLimit" else _first(began)
        return replace(first, cpu_s=max(0.0, ended.cpu_s - before_s))

    # counter-checks

    def _counter_checked(
        self, everything: list[int], sites: set[int], results: Mapping[int, Told]
    ) -> list[Verdict] | None:
        """None if the program fails exactly what is altered, again and again; else the verdicts that it deserves."""
        missing = self._missing(results)
        if missing:
            return [replace(verdict, cpu_s=results[index].cpu_s) for index, verdict in missing.items()]
        reached = {answer.site for told in results.values() for answer in told.answers}
        asked = sorted(sites & reached)
        self._values = _computed(self._plan, results)
        bits, tossed = 0, set[Form]()
        for _ in range(MAX_COUNTER_CHECKS):
            if bits >= BITS or not asked:
                return None
            coins: dict[int, Form] = {site: "altered" if secrets.randbits(1) else "true" for site in asked}
            tossed.update(coins.values())
            if len(tossed) == 1 and bits + len(asked) >= BITS:  # who always fails, or never, is not to be lucky
                coins[secrets.choice(asked)] = "true" if tossed == {"altered"} else "altered"
            doubt = self._counter_check(everything, coins, results)
            if doubt is not None:
                return doubt
            bits += len(asked)
        return None

    def _counter_check(
        self, everything: list[int], coins: Mapping[int, Form], results: Mapping[int, Told]
    ) -> list[Verdict] | None:
        """One process. What fails it without a trace of cheating counts as it would in a first run."""
        for last in (False, True):
            verdicts = self._all(everything, coins)
            doubt = self._doubt(everything, coins, results, verdicts)
            if doubt is None or doubt.error_type == CHEATING or last:
                break
        if doubt is None:
            return None
        return [replace(doubt, cpu_s=results[index].cpu_s) for index in everything]

    def _doubt(
        self,
        everything: list[int],
        coins: Mapping[int, Form],
        results: Mapping[int, Told],
        verdicts: list[Verdict],
    ) -> Verdict | None:
        sites = self._plan.sites
        altered = {site for site, form in coins.items() if form == "altered"}
        # Only a handler that is not reached changes what the tests come to.
        detour = any(sites[site].kind == "caught" for site in altered)
        cheated = Verdict(
            "failure", CHEATING, None, "it passes tests that were altered such that they cannot be passed"
        )
        for index, verdict in zip(everything, verdicts, strict=True):
            if index not in self._told:
                return verdict if verdict.outcome != "not_run" else NOT_RUN
            told = self._told[index]
            now = {answer.site for answer in told.answers}
            before = {answer.site for answer in results[index].answers}
            for answer in told.answers:
                if answer.site not in before:
                    continue  # come to because something altered did not hold
                if answer.site in altered and answer.held is not False:
                    return cheated
                if answer.site not in altered and answer.held is False and not self._follows(answer.site, altered):
                    return answer.verdict
            left_out = {site for site in before - now if not self._follows(site, altered)}
            if any(sites[site].required or not detour for site in left_out):
                return told.end if told.end is not None and told.end.outcome != "pass" else cheated
            if told.end is not None and told.end.outcome != "pass" and not altered:
                return told.end
        return None

    def _follows(self, site: int, altered: set[int]) -> bool:
        """Whether an assertion is only come to when another one holds."""
        return bool(altered.intersection(self._plan.sites[site].depends))

    def _missing(self, results: Mapping[int, Told]) -> dict[int, Verdict]:
        """Verdicts of a program whose run has passed by assertions that every run comes to."""
        reached = {answer.site for told in results.values() for answer in told.answers}
        if reached.issuperset(self._plan.required_sites) and (reached or not self._plan.sites):
            return {}
        verdict = Verdict("failure", CHEATING, None, "its run left out assertions that every run comes to")
        return dict.fromkeys(results, verdict)

    # what counts as a test

    def _by_statement(self, verdicts: list[Verdict], results: Mapping[int, Told]) -> list[Verdict]:
        """One verdict per assert statement, where the suite is one function or text of them."""
        plan = self._plan
        if not plan.by_statement or plan.statements < 2 or len(verdicts) != 1 or 0 not in results:
            return verdicts
        whole = verdicts[0]
        if whole.outcome in ("compile_error", "not_run") or whole.error_type == CHEATING:
            return [whole] * plan.statements
        found: dict[int, Verdict] = {}
        for answer in results[0].answers:
            if answer.site < 0:
                continue
            number = plan.sites[answer.site].statement
            if answer.verdict.outcome != "pass" or number not in found:
                if found.get(number, answer.verdict).outcome == "pass":
                    found[number] = answer.verdict
        ended = whole.outcome == "pass"
        tests = [found.get(number, Verdict("pass") if ended else NOT_RUN) for number in range(plan.statements)]
        if not ended and all(test.outcome in ("pass", "not_run") for test in tests):
            # What ended it is none of the assertions: it is put where the run stopped.
            place = next((number for number, test in enumerate(tests) if test.outcome == "not_run"), len(tests) - 1)
            tests[place] = whole
        first = next((number for number, test in enumerate(tests) if test.outcome != "pass"), 0)
        tests[first] = replace(tests[first], cpu_s=whole.cpu_s)
        return tests


def _first(told: Told) -> Verdict:
    """What a test comes to: its first failure."""
    for answer in told.answers:
        if answer.verdict.outcome != "pass":
            return answer.verdict
    assert told.end is not None
    return told.end


def _computed(plan: Plan, results: Mapping[int, Told]) -> dict[int, dict[int, list[Any]]]:
    """Per test, for assertions that compute what they expect, that, where it is plain each time."""
    answers = [answer for told in results.values() for answer in told.answers]
    unknown = {answer.site for answer in answers if type(answer.expected) is UNKNOWN}
    found: dict[int, dict[int, list[Any]]] = {}
    for index, told in results.items():
        for answer in told.answers:
            if answer.site >= 0 and plan.sites[answer.site].computed and answer.site not in unknown:
                found.setdefault(index, {}).setdefault(answer.site, []).append(answer.expected)
    return found

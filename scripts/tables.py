"""Writes the tables of the documentation from the code: what can be chosen by name, and which metrics there are.

`python scripts/tables.py` writes them, with `--check` it says whether those that are there are up to date. A table
stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rltf.actors import engine, engines  # noqa: E402
from rltf.config import objectives as named  # noqa: E402
from rltf.executor import checkers, judge, judges  # noqa: E402
from rltf.learner import objectives, rewards  # noqa: E402
from rltf.problems import problem, prompts, sources, spec, table  # noqa: E402
from rltf.telemetry.declarations import METRICS, STEP_FIGURES, Metric, Source  # noqa: E402

TEXTS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


def file_of(thing: Any) -> str:
    """Where something is defined, from the root."""
    return str(Path(inspect.getfile(thing)).resolve().relative_to(ROOT))


def of_objectives() -> list[list[str]]:
    """Every `learner.objective`."""
    rows = [["`learner.objective`", "what it is", "module"]]
    for name, meaning in named.OBJECTIVES.items():
        kind = objectives.OBJECTIVES[name]
        module = "learner/objectives/supervised.py" if kind is None else file_of(kind)
        linked = ARXIV.sub(lambda match: f"[{match[1]}](https://arxiv.org/abs/{match[1]})", meaning)
        rows.append([f"`{name}`", linked, f"`{module}`"])
    return rows


def of_rewards() -> list[list[str]]:
    """Every `reward` of the objectives with one advantage per program."""
    return [["`reward`", "of a program"], *([f"`{name}`", meaning] for name, meaning in named.REWARDS.items())]


def of_sources() -> list[list[str]]:
    """Every way in which a SPEC can begin."""
    rows = [["SPEC", "problems", "options"]]
    for source in sources.SOURCES.values():
        own = [option for option in source.options if option not in table.FIELDS]
        named = [f"`{option}`" for option in own] + ["fields of `jsonl`"] * (len(own) < len(source.options))
        rows.append([f"`{source.form}`", source.about, ", ".join(named)])
    return rows


def of_styles() -> list[list[str]]:
    """Every `problems.prompt_style`."""
    rows = [["`problems.prompt_style`", "how a problem is shown"]]
    rows += [[f"`{name}`", style.about] for name, style in prompts.STYLES.items()]
    return [*rows, [f"`{prompts.AUTO}`", "each data set's problems in its own style"]]


def of_checkers() -> list[list[str]]:
    """Every `checker`."""
    return [["`checker`", "what is accepted"], *([f"`{name}`", rule] for name, rule in problem.CHECKERS.items())]


def of_sites() -> list[list[str]]:
    """Every `site`."""
    return [["`site`", "what programs find"], *([f"`{name}`", found] for name, found in problem.SITES.items())]


def of_seams() -> list[list[str]]:
    """Every part that people replace."""
    rows = [["part", "chosen by", "names", "interface", "dictionary"]]
    for part, field, interface, module, name in (
        ("objective", "`learner.objective`", objectives.Objective, objectives, "OBJECTIVES"),
        ("reward", "`OBJECTIVE.reward`", None, rewards, "REWARDS"),
        ("problem source", "a SPEC", spec.Source, sources, "SOURCES"),
        ("checker", "`checker` of a SPEC or a problem", checkers.Checker, checkers, "CHECKERS"),
        ("prompt style", "`problems.prompt_style`", prompts.TemplateStyle, prompts, "STYLES"),
        ("sampling engine", "`actors.engine`", engine.Engine, engines, "ENGINES"),
        ("judge", "`executor.judge`", judge.Judge, judges, "JUDGES"),
    ):
        names = ", ".join(f"`{each}`" for each in getattr(module, name))
        kind = "a function" if interface is None else f"`{interface.__name__}`, `{file_of(interface)}`"
        rows.append([part, field, names, kind, f"`{name}`, `{file_of(module)}`"])
    return rows


def of_metrics(source: Source) -> list[list[str]]:
    """Every metric of a source."""
    rows = [["name", "of" if METRICS[source][0].by else "unit", "meaning", "shown by"]]
    for metric in METRICS[source]:
        keys = f" By {', '.join(f'`{key}`' for key in metric.keys)}." if metric.keys else ""
        rows.append([f"`{metric.name}`", metric.unit or ", ".join(metric.by), metric.meaning + keys, shown(metric)])
    return rows


def shown(metric: Metric) -> str:
    """Where a metric shows, in words."""
    words = {"gauge": "Prometheus", "tensorboard": "TensorBoard", "status": "`status`"}
    places = [words[place] for place in metric.shows]
    every = [one.line for metrics in METRICS.values() for one in metrics if one.line]
    for line in [metric.line] if metric.line else [line for line in every if f"{{{metric.name}:" in line.text]:
        places.insert(0, f"status line ({line.rank})")
    if metric.report:
        places.append("report" if metric.report == STEP_FIGURES else f"report: {metric.report}")
    return ", ".join(places)


TABLES: dict[str, Callable[[], list[list[str]]]] = {
    "objectives": of_objectives,
    "rewards": of_rewards,
    "sources": of_sources,
    "checkers": of_checkers,
    "sites": of_sites,
    "styles": of_styles,
    "seams": of_seams,
} | {f"metrics_{source}": partial(of_metrics, source) for source in METRICS}


def rendered(text: str) -> str:
    """A text with its tables as the code has them. Raises KeyError for a table that nobody makes."""

    def table(match: re.Match[str]) -> str:
        head, *rows = TABLES[match[2]]()
        lines = [head, ["---"] * len(head), *rows]
        return match[1] + "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + match[3]

    return BLOCK.sub(table, text)


def main() -> int:
    """The command; exit code 1 when `--check` finds a text out of date."""
    old = {path: path.read_text(encoding="utf-8") for path in TEXTS}
    stale = [path for path, text in old.items() if rendered(text) != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run .venv/bin/python scripts/tables.py", file=sys.stderr)
        return int(bool(stale))
    for path in stale:
        path.write_text(rendered(old[path]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

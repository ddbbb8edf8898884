"""Results as tables in the paper's layout (RLTF, arXiv 2307.04349, Tables 3 and 8): a row per policy, for each k a
column per difficulty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltf.evaluation.results import ALL, heading
from rltf.telemetry.console import counted

_ESCAPED = {char: f"\\{char}" for char in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """A table per problem set that the first of `results` has, then its figures with their intervals."""
    first = results[0]
    parts = []
    for one in first["sets"]:
        parts.append(f"## {one['problems']}\n\n" + _markdown_table(results, one["problems"]))
        parts.append(_intervals(one) + "\n\n" + _error_mix(one))
        parts.append("\n".join(f"- {sentence}" for sentence in remarks(one, first["k"])))
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(results: Sequence[Mapping[str, Any]]) -> str:
    """The same tables for a paper, with the rules of the package booktabs."""
    return "\n".join(_latex_table(results, one["problems"]) for one in results[0]["sets"])


def remarks(one: Mapping[str, Any], ks: Sequence[int]) -> list[str]:
    """Sentences on what of a set has no program or no verdict, and which of the `ks` are not over all problems."""
    found = []
    if failed := one["failed_without_program"]:
        named = ", ".join(row["problem"] for row in failed[:5]) + (", .." if failed[5:] else "")
        found.append(
            f"{len(failed):,} problems have no program and count as failed ({named}); the first: {failed[0]['reason']}"
            if failed[1:]
            else f"1 problem has no program and counts as failed ({named}): {failed[0]['reason']}"
        )
    figures = one["groups"][ALL]
    for k in ks:
        over = figures["metrics"].get(f"pass@{k}", {"problems": 0})["problems"]
        if not over:
            found.append(f"there is no pass@{k}: no problem has {counted(k, 'program')}")
        elif over < figures["problems"]:
            found.append(
                f"pass@{k} is over {over:,} of {figures['problems']:,} problems: the others have fewer than "
                f"{counted(k, 'program')}"
            )
    if lost := one["without_verdict"]:
        named = ", ".join(list(lost)[:5]) + (", .." if len(lost) > 5 else "")
        found.append(
            f"{counted(sum(lost.values()), 'program')} of {counted(len(lost), 'problem')} without a verdict ({named}), "
            "by a failure of the infrastructure, count for nothing"
        )
    if left_out := one["left_out"]:
        first = f"{left_out[0]['problem']}: {left_out[0]['reason']}"
        found.append(f"{counted(len(left_out), 'problem')} of the data cannot be used; the first, {first}")
    return found


def percent(share: float | None) -> str:
    """A share as the paper writes it, in percent with two digits; a dash where there is none."""
    return "–" if share is None or share != share else f"{100 * share:.2f}"


def _columns(results: Sequence[Mapping[str, Any]], name: str) -> tuple[list[str], list[str]]:
    """The metrics of the table and the groups of problems."""
    figures = next(one["groups"] for one in results[0]["sets"] if one["problems"] == name)
    return [metric for metric in figures[ALL]["metrics"] if metric.startswith("pass@")], list(figures)


def _rows(results: Sequence[Mapping[str, Any]], name: str) -> list[list[str]]:
    metrics, groups = _columns(results, name)
    rows = []
    for result in results:
        figures: Mapping[str, Any] = next((one["groups"] for one in result["sets"] if one["problems"] == name), {})
        row = [str(result["model"]), size(result.get("parameters"))]
        for metric in metrics:
            for group in groups:
                found = figures.get(group, {"metrics": {}})["metrics"].get(metric)
                row.append(percent(found and found["value"]))
        rows.append(row)
    return rows


def size(parameters: int | None) -> str:
    """Parameters as the paper writes them: 770M, 2.7B."""
    if not parameters:
        return "–"
    for unit, word in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{word}"
    return str(parameters)


def _markdown_table(results: Sequence[Mapping[str, Any]], name: str) -> str:
    metrics, groups = _columns(results, name)
    head = ["model", "size"] + [f"{metric} {heading(group)}" for metric in metrics for group in groups]
    return _grid(head, _rows(results, name))


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, ruled, *rows))


def _intervals(one: Mapping[str, Any]) -> str:
    """Every metric of every group with the ends of its 95% interval."""
    names = list(one["groups"][ALL]["metrics"])
    rows = []
    for group, figures in one["groups"].items():
        cells = [f"{heading(group)} ({figures['problems']:,})"]
        for name in names:
            found = figures["metrics"].get(name)
            cells.append(
                f"{percent(found['value'])} [{percent(found['low'])}, {percent(found['high'])}]" if found else "–"
            )
        rows.append(cells)
    return "Percent, with bootstrap 95% intervals over problems:\n\n" + _grid(["problems", *names], rows)


def _error_mix(one: Mapping[str, Any]) -> str:
    """What became of programs, in percent of all of them (the paper's Figure 2)."""
    groups = one["groups"]
    rows = []
    for bar in ("pass", "failure", "error"):
        rows.append([bar, *[_of(figures["error_mix"][bar], figures["programs"]) for figures in groups.values()]])
    for name in groups[ALL]["error_mix"]["errors"]:
        shares = [_of(figures["error_mix"]["errors"][name], figures["programs"]) for figures in groups.values()]
        rows.append([f"· {name}", *shares])
    return "Programs by what became of them, in percent of all:\n\n" + _grid(["", *map(heading, groups)], rows)


def _of(number: int, programs: int) -> str:
    return percent(number / programs if programs else None)


def _latex_table(results: Sequence[Mapping[str, Any]], name: str) -> str:
    metrics, groups = _columns(results, name)
    width = len(groups)
    lines = [r"\begin{tabular}{lr" + f"{'r' * width}" * len(metrics) + "}", r"\toprule"]
    spans = [rf"\multicolumn{{{width}}}{{c}}{{{_tex(metric)}}}" for metric in metrics]
    lines.append(" & ".join(["Method", "Size", *spans]) + r" \\")
    lines.append("".join(rf"\cmidrule(lr){{{3 + at * width}-{2 + (at + 1) * width}}}" for at in range(len(metrics))))
    lines.append(" & ".join(["", "", *[_tex(heading(group)) for group in groups] * len(metrics)]) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(map(_tex, row)) + r" \\" for row in _rows(results, name)]
    return "\n".join([f"% {name}", *lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return "".join(_ESCAPED.get(char, char) for char in text).replace("–", "--")

"""APPS (Hendrycks et al., arXiv 2105.09938): the directory layout, and the same records from the hub.

FOLDER/train/0000/question.txt          the statement
                  input_output.json     {"inputs": [...], "outputs": [...], "fn_name": only when call-based}
                  solutions.json        list of programs, may be missing
                  starter_code.py       may be missing
                  checker.py            may be missing: the problem's own checker (`problems.special_judges`)
                  metadata.json         {"difficulty": ..., "url": ...}, may be missing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rltf.config import UserError
from rltf.problems.fields import unread
from rltf.problems.files import parse_field, read_text, unix_lines
from rltf.problems.hub import hub_rows
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import imports_of
from rltf.problems.spec import IdFilter, Source, Spec
from rltf.problems.special_judges import checker_source
from rltf.problems.statement_examples import shown_in
from rltf.problems.wrapped_outputs import unwrap_outputs

DIFFICULTIES = ("introductory", "interview", "competition")
_FILES = ("question.txt", "input_output.json", "solutions.json", "starter_code.py", "metadata.json", "checker.py")


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of an `apps` SPEC. Raises UserError when the folder is missing or holds no problems."""
    difficulty = spec.one_of("difficulty", DIFFICULTIES, "")
    chosen = IdFilter(spec)
    as_written = spec.options.get("checker") == "apps_compat"
    if spec.path is None:
        split = spec.one_of("split", ("train", "test"), "train")
        rows = hub_rows(spec, "json", data_files=f"hf://datasets/codeparrot/apps/{split}.jsonl", split="train")
        records: Iterable[Problem | Skipped] = (
            from_row(split, row, as_written) for row in rows if chosen(_row_name(row))
        )
    else:
        folders = [folder for folder in problem_folders(spec, spec.path) if chosen(folder.name)]
        records = (from_folder(folder, as_written) for folder in folders)
        for folder in folders:
            if files := _unread_files(folder):
                yield UnreadFields(_folder_name(folder), str(folder), files)
    for record in records:
        if isinstance(record, Skipped) or not difficulty or record.difficulty == difficulty:
            yield record
    chosen.require_matches()


def _unread_files(folder: Path) -> dict[str, str]:
    """Files of a problem's folder that are near to one that it lacks; others are the user's own."""
    files = {path.name: path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return {name: hint for name, hint in unread(files, _FILES).items() if hint}


def problem_folders(spec: Spec, folder: Path) -> list[Path]:
    """Problem folders, sorted by name: those of FOLDER/split, else of FOLDER itself, else of FOLDER/train."""
    if not folder.exists():
        raise UserError(f"{spec.text}: the folder {folder} does not exist")
    if not folder.is_dir():
        raise UserError(f"{spec.text}: {folder} is a file, APPS is a folder (unpack an archive first)")
    split = spec.options.get("split")
    for candidate in [folder / split] if split else [folder, folder / "train"]:
        found = sorted(path.parent for path in candidate.glob("*/question.txt"))
        found += sorted(
            path.parent for path in candidate.glob("*/input_output.json") if not (path.parent / "question.txt").exists()
        )
        if found:
            return sorted(found)
    if split:
        known = sorted(path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*/question.txt")))
        raise UserError(f"{spec.text}: {folder / split} holds no problems; splits there: {', '.join(known) or 'none'}")
    raise UserError(f"{spec.text}: {folder} holds no APPS problems (folders with question.txt and input_output.json)")


def _folder_name(folder: Path) -> str:
    return f"{folder.resolve().parent.name}/{folder.name}"


def from_folder(folder: Path, as_written: bool = False) -> Problem | Skipped:
    """One problem folder. Whatever is wrong with it is told in the Skipped."""
    name = _folder_name(folder)
    try:
        checker = folder / "checker.py"
        metadata = _json_file(folder / "metadata.json", default={})
        return make_problem(
            name,
            question=read_text(folder / "question.txt"),
            starter_code=read_text(folder / "starter_code.py") if (folder / "starter_code.py").exists() else "",
            tests=_json_file(folder / "input_output.json", default=None),
            solutions=_json_file(folder / "solutions.json", default=[]),
            difficulty=metadata.get("difficulty", "unknown") if isinstance(metadata, dict) else "unknown",
            as_written=as_written,
            checker_code=read_text(checker) if checker.exists() else "",
        )
    except (UserError, ValueError) as error:
        return Skipped(name, str(error))


def from_row(split: str, row: dict[str, Any], as_written: bool = False) -> Problem | Skipped:
    """One row of the hub's JSON lines, in which tests and solutions are JSON texts."""
    name = f"{split}/{_row_name(row)}"
    try:
        return make_problem(
            name,
            question=row.get("question") or "",
            starter_code=row.get("starter_code") or "",
            tests=_json_text("input_output", row.get("input_output"), default=None),
            solutions=_json_text("solutions", row.get("solutions"), default=[]),
            difficulty=row.get("difficulty") or "unknown",
            as_written=as_written,
        )
    except ValueError as error:
        return Skipped(name, str(error))


def make_problem(
    name: str,
    question: str,
    starter_code: str,
    tests: Any,
    solutions: Any,
    difficulty: str,
    as_written: bool = False,
    checker_code: str = "",
) -> Problem:
    """Problem from the parsed parts of an APPS problem. Raises ValueError when they do not make one.

    `as_written`: expected return values stay wrapped in a list of one where the data has them so, for the checker
    apps_compat.
    """
    if tests is None:
        raise ValueError("it has no tests (no input_output.json)")
    if (
        not isinstance(tests, dict)
        or not isinstance(tests.get("inputs"), list)
        or not isinstance(tests.get("outputs"), list)
    ):
        raise ValueError("input_output.json must be an object with the lists inputs and outputs")
    if not isinstance(solutions, list) or not all(isinstance(program, str) for program in solutions):
        raise ValueError("solutions.json must be a list of programs")
    programs = tuple(unix_lines(program) for program in solutions)
    suite = _suite(tests, starter_code, programs, as_written)
    if checker_code.strip():
        suite = replace(suite, checker_code=checker_source(checker_code))
    return Problem(
        id=name,
        question=question,
        starter_code=starter_code,
        suite=suite,
        solutions=programs,
        difficulty=str(difficulty),
        prompt_style="apps",
        examples=shown_in(question, suite),
    )


def _suite(tests: dict[str, Any], starter_code: str, solutions: tuple[str, ...], as_written: bool) -> TestSuite:
    fn_name = tests.get("fn_name")
    inputs, outputs = tests["inputs"], tests["outputs"]
    if fn_name is None:
        return TestSuite(
            kind="stdin",
            fn_name=None,
            inputs=tuple(map(_text, inputs)),
            outputs=tuple(map(_text, outputs)),
            site="apps",
        )
    if not isinstance(fn_name, str):
        raise ValueError("fn_name in input_output.json must be a string")
    unwrapped = outputs if as_written else unwrap_outputs(fn_name, outputs, (starter_code, *solutions))
    prelude = imports_of(starter_code)
    return TestSuite("call", fn_name, tuple(inputs), tuple(unwrapped), site="apps", prelude=prelude)


def _text(value: Any) -> Any:
    """Text of a stdin test; the data also has it as a list of lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value


def _row_name(row: dict[str, Any]) -> str:
    number = row.get("problem_id", row.get("id", ""))
    return f"{number:04d}" if isinstance(number, int) else str(number)


def _json_file(path: Path, default: Any) -> Any:
    return _json_text(path.name, read_text(path), default) if path.exists() else default


def _json_text(name: str, text: str | None, default: Any) -> Any:
    if not text or not text.strip():
        return default
    return parse_field(name, text)


SOURCE = Source(
    "apps",
    "the APPS directory layout; a bare `apps` comes from the hub",
    load,
    ("split", "difficulty", "ids", "checker", "tolerance"),
    path="FOLDER",
    hub=True,
)

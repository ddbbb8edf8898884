"""Special judges: a problem's own checker, where several answers are right; and the forms in which data sets have them.

A checker is Python source with `check(input, expected, output)`. Two published forms are turned into it: HardTests'
`output_judging_function`, and a script that is given three files, as `generated_checker` of open-r1/codeforces is.
Nothing of it is run here; the judge runs it in a lane of its own (`executor.special_judge`).
"""

from __future__ import annotations

import ast
import re

CHECK = "check"
"""Name of the function that decides."""
MAX_CHARS = 1 << 20
_INTERACTIVE = re.compile(r"\bthis is an?\W+interactive\W+(?:problem|task)\b", re.IGNORECASE)
INTERACTIVE = "it is interactive: its program has to talk with a judge that answers, and there is none"
_HARDTESTS = """

def check(input, expected, output):
    return output_judging_function(input, output, expected)
"""
_SCRIPT = '''
def check(input, expected, output):
    """Whether the script below prints 1."""
    import contextlib, io, sys
    names = "input.txt", "correct_output.txt", "solution_output.txt"
    for name, text in zip(names, (input, expected, output)):
        with open(name, "w") as file:
            file.write(text)
    sys.argv[1:] = names
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        exec(compile(SCRIPT, "<checker>", "exec"), {{"__name__": "__main__"}})
    return {{0.0: False, 1.0: True}}[float(said.getvalue().split()[-1])]

SCRIPT = {script!r}
'''


def is_interactive(question: str) -> bool:
    """Whether a statement says, as contest sites do, that the program talks with a judge."""
    return _INTERACTIVE.search(question) is not None


def checker_source(code: str) -> str:
    """The source of a checker, in whatever form it was published, as one that defines `check`.

    Raises ValueError for what is none.
    """
    if len(code) > MAX_CHARS:
        raise ValueError(f"checker_code has more than {MAX_CHARS:,} characters")
    try:
        names = _defined(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"checker_code does not compile: {error}") from None
    if CHECK in names:
        return code
    if "output_judging_function" in names:
        return code + _HARDTESTS
    if "sys.argv" in code or re.search(r"from\s+sys\s+import\b.*\bargv\b", code):
        return _SCRIPT.format(script=code).lstrip()
    raise ValueError("checker_code has to define check(input, expected, output), which says True or False")


def _defined(tree: ast.Module) -> set[str]:
    """Names that a module has at its top."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found

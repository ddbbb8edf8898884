"""Whether one test of a program could leave something behind for the next: all of them share a process.

Each test runs the program in a fresh namespace, so only modules, builtins and files can carry anything over. Looked for
in the text: the question is how much running again it takes to trust a verdict, and a program that hides its intent is
still caught by the confirm rule (`executor.grading`) as soon as a test fails.
"""

from __future__ import annotations

import re

_REACHES = ("import", "__", "open", "class Solution")
"""Modules (the names that a `class Solution` finds imported among them), builtins by dunder names, files."""
_WORDS = (
    *(
        "setattr",
        "delattr",
        "__dict__",
        "__builtins__",
        "builtins.",
        "sys.modules",
        "environ",
        "putenv",
        "getcontext",
        "setcontext",
    ),
    *(
        "os.mkdir",
        "os.makedirs",
        "os.rename",
        "os.replace",
        "os.remove",
        "os.unlink",
        "os.rmdir",
        "os.open",
        "os.link",
        "os.symlink",
    ),
    *("os.chdir", "shelve", "sqlite3", ".write_text", ".write_bytes", ".touch(", "import_module"),
)
_WRITES = re.compile(r"""open\s*\([^)\n]*['"][rb]*[wax+]""")
_IMPORT = re.compile(r"import(?<=\bimport)[ \t]+([^#;\n(]+)")
"""Begins with what can be searched for fast."""
_ASSIGNS = re.compile(r"(?:\.\w+)*\.(\w+)[ \t]*(?:[-+*/|&]|//)?=(?!=)")
_RENEWED = {"stdin", "stdout", "stderr"}
"""Attributes of `sys` that every test gets anew."""


def may_leak_state(program: str) -> bool:
    """Whether anything that outlives a test is within the program's reach."""
    return any(word in program for word in _REACHES)


def mutates_shared_state(program: str) -> bool:
    """Whether the program visibly changes what outlives a test: then each test has a process of its own from
    the start.
    """
    if not may_leak_state(program):
        return False
    if any(word in program for word in _WORDS) or ("open" in program and _WRITES.search(program)):
        return True
    modules = {"sys", "math", "collections"} if "class Solution" in program else set()
    for names in _IMPORT.findall(program):
        modules.update(part.split()[-1].partition(".")[0] for part in names.split(",") if part.strip())
    return any(_assigned(program, name) for name in modules)


def _assigned(program: str, module: str) -> bool:
    """Whether an attribute of a module is assigned to; a word that merely ends in the module's name counts as well."""
    start = program.find(module + ".")
    while start >= 0:
        found = _ASSIGNS.match(program, start + len(module))
        if found and found.group(1) not in _RENEWED:
            return True
        start = program.find(module + ".", start + 1)
    return False

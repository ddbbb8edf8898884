"""Texts that are hardly programs."""

from __future__ import annotations

from tests.support.attacks.common import Attack

TEXTS = [
    Attack("program texts", "null bytes", "a compile error", "def attack():\n    return 'a\0b'\n", wants="harm"),
    Attack(
        "program texts",
        "lone surrogates",
        "a compile error",
        "def attack():\n    return '\udc80\ud800'\n",
        wants="harm",
    ),
    Attack(
        "program texts",
        "a declared encoding",
        "text is text",
        "# -*- coding: utf-7 -*-\ndef attack():\n    return 0\n",
        wants="harm",
    ),
    Attack(
        "program texts",
        "deep nesting",
        "the compiler",
        "def attack():\n    return " + "(" * 5000 + ")" * 5000 + "\n",
        wants="harm",
    ),
    Attack(
        "program texts",
        "deep signs",
        "a process per program",
        "def attack():\n    return " + "-" * 30000 + "1\n",
        wants="harm",
    ),
    Attack(
        "program texts",
        "a very long program",
        "CPU limit from the first moment",
        "def attack():\n    x = 0\n" + "    x += 1\n" * 100_000 + "    return x\n",
        wants="harm",
        slow=True,
    ),
]

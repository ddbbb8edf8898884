"""What the attacks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GOT = "got it"
LIMIT_S = 0.15


@dataclass(frozen=True)
class Attack:
    group: str
    name: str
    stopped_by: str
    code: str
    wants: Literal["escape", "steal", "harm"] = "escape"
    slow: bool = False
    """Takes its whole time limit: run in one of the modes only, unless all are asked for."""


# Common beginning of programs that make system calls by number; `call` returns what the kernel did, negative for an
# error.
RAW = """
import ctypes, os
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_X86 = os.uname().machine == 'x86_64'
def call(x86, arm, *arguments):
    number = x86 if _X86 else arm
    if number is None: return -38
    result = _libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return result if result >= 0 else -ctypes.get_errno()
"""
# Reads this process's memory without crashing: the kernel refuses to copy from where nothing is mapped. Each page is read
# once, behind the last bytes of the one before it, through one buffer that is emptied, and only what follows the
# needle is kept: the search finds each place once, and none of its own copies.
SCAN = """
import ctypes, os
_libc = ctypes.CDLL(None, use_errno=True)
def scan(needle, most=1 << 28):
    r, w = os.pipe()
    tail = len(needle) - 1
    data = bytearray(tail + 4096)
    found = []
    starts = {id(x) & ~0xFFFFFFF for x in (needle, [], type, print)} | {id(x) & ~0xFFFFF for x in (needle, [])}
    last = 0
    for page in sorted({page for start in starts for page in range(start, start + most, 4096)}):
        if _libc.write(w, ctypes.c_void_p(page), 4096) == 4096:
            data[:tail] = data[4096:] if page == last + 4096 else bytes(tail)
            os.readv(r, [memoryview(data)[tail:]])
            last = page
            place = data.find(needle)
            while place >= 0:
                found.append(bytes(data[place + len(needle):place + len(needle) + 40]))
                place = data.find(needle, place + 1)
            data[:4096] = bytes(4096)
    return found
"""
OTHERS = "[p for p in range(1, 400) if p != os.getpid()] + [-1]"


def tries(body: str, before: str = "import os") -> str:
    """A program that got it if one of several lines raises nothing."""
    lines = [line.strip() for line in body.strip().splitlines()]
    return (
        f"{before}\ndef attack():\n    for line in {lines!r}:\n        try:\n            exec(line, globals())\n"
        f"        except Exception:\n            continue\n        return '{GOT}'\n"
    )


def forever(body: str, before: str = "import os") -> str:
    return f"{before}\ndef attack():\n    while True:\n" + "".join(
        f"        {line}\n" for line in body.strip().splitlines()
    )

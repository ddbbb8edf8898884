"""What a zygote does to its own memory before its first fork, so that programs' processes copy fewer pages of it.

Copying pages is most of what a fork of an interpreter costs: a process writes to a page when it counts a reference to
an object there, or when it allocates in a hole that the page has. Whatever the host, the C library or the interpreter
does not have is left out. Nothing here changes what a program can observe, but for `sys.getrefcount` of objects that
were there before it. Standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys

from rltf.executor.syscalls import check, libc

HUGE_BYTES = 2 << 20
IMMORTAL_SINCE = (3, 12)
"""The first version that keeps objects whose count is `_IMMORTAL` for ever, and leaves that count alone (PEP 683)."""
LARGEST_HOLE, LEAST_HOLE = 1 << 17, 24
_IMMORTAL = 0xFFFFFFFF
_READ_WRITE, _READ_EXECUTE = 3, 5
_PRIVATE_ANONYMOUS = 0x22
_MOVE_TO = 3
_MADV_COLLAPSE = 25
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r-[-x]p) [0-9a-f]+ \S+ [1-9]\d* +(\S*/(?:lib)?python3[^/]*)$")


class _Mallinfo(ctypes.Structure):
    _fields_ = [(f"field{number}", ctypes.c_size_t) for number in range(9)] + [("top_bytes", ctypes.c_size_t)]


def move_code_to_huge_pages() -> int:
    """Puts the interpreter's code into huge pages of this process's own; how many, 0 where the host has none.

    A fork does not copy the page tables of a file's pages: each process would find some fifty parts of the code by a
    fault. That of a huge page is one entry, which it does copy. Call it while the process has one thread.
    """
    try:
        with open("/proc/self/maps") as file:
            places = code_windows(file.read())
    except OSError:
        return 0
    # Tried in a process that may break: a code page that is gone half-way is the end of whoever does this.
    if not places or not _survives(places):
        return 0
    return sum(_move(place) for place in places)


def code_windows(maps: str) -> list[int]:
    """Addresses of what lies in the interpreter's read-only pages and is as large, and aligned, as a huge page."""
    spans: list[list[int]] = []
    for line in maps.splitlines():
        found = _MAPPING.match(line)
        if found:
            start, end = int(found[1], 16), int(found[2], 16)
            if spans and spans[-1][1] == start:
                spans[-1][1] = end
            else:
                spans.append([start, end])
    return [
        place
        for start, end in spans
        for place in range(-(-start // HUGE_BYTES) * HUGE_BYTES, end - HUGE_BYTES + 1, HUGE_BYTES)
    ]


def _survives(places: list[int]) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if all([_move(place) for place in places]) else 1)
    return os.waitpid(pid, 0)[1] == 0


def _move(place: int) -> bool:
    """Whether what lies at an address lies in a huge page there from here on."""
    size, nowhere = ctypes.c_size_t, ctypes.c_void_p
    _mmap, _mremap = libc.mmap, libc.mremap
    _mmap.restype = _mremap.restype = ctypes.c_size_t
    space = _mmap(nowhere(), size(2 * HUGE_BYTES), _READ_WRITE, _PRIVATE_ANONYMOUS, -1, ctypes.c_long(0))
    if space == ctypes.c_size_t(-1).value:
        return False
    copy = -(-space // HUGE_BYTES) * HUGE_BYTES
    moved = False
    ctypes.memmove(copy, place, HUGE_BYTES)
    try:
        check(libc.madvise(nowhere(copy), size(HUGE_BYTES), _MADV_COLLAPSE), "madvise")
        check(libc.mprotect(nowhere(copy), size(HUGE_BYTES), _READ_EXECUTE), "mprotect")
        moved = _mremap(nowhere(copy), size(HUGE_BYTES), size(HUGE_BYTES), _MOVE_TO, nowhere(place)) == place
    except OSError:
        pass
    for start, end in [(space, copy), (copy + (HUGE_BYTES if moved else 0), space + 2 * HUGE_BYTES)]:
        if end > start:
            libc.munmap(nowhere(start), size(end - start))
    return moved


def make_immortal() -> int:
    """Stops the counting of references to every object there is; how many, 0 where the interpreter counts always.

    What exists before the first program is never freed anyway: the process ends without doing so.
    """
    if sys.version_info < IMMORTAL_SINCE or sys.implementation.name != "cpython" or not _counts_as_known():
        return 0
    gc.collect()
    seen: set[int] = set()
    found: list[object] = [*gc.get_objects(), sys.modules]
    while found:
        thing = found.pop()
        if id(thing) not in seen:
            seen.add(id(thing))
            found += gc.get_referents(thing)
    for address in seen:
        ctypes.c_uint32.from_address(address).value = _IMMORTAL
    return len(seen)


def _counts_as_known() -> bool:
    """Whether an object begins with its count, as in a build with the global lock and without debugging."""
    thing = object()
    before = ctypes.c_uint32.from_address(id(thing)).value
    another = thing
    return ctypes.c_uint32.from_address(id(another)).value == before + 1 and object.__basicsize__ == 16


def fill_holes() -> int:
    """Takes what is free between the C library's blocks; how many blocks, 0 where it does not tell what it has.

    What a program allocates then lies together behind them, instead of on a page of others' each.
    """
    if not hasattr(libc, "mallinfo2"):
        return 0
    information, allocate, free, end = libc.mallinfo2, libc.malloc, libc.free, libc.sbrk
    information.restype, allocate.restype, end.restype = _Mallinfo, ctypes.c_size_t, ctypes.c_size_t
    top = end(ctypes.c_ssize_t(0)) - information().top_bytes
    taken, size = 0, LARGEST_HOLE
    while size >= LEAST_HOLE:
        block = allocate(ctypes.c_size_t(size - 8))
        if 0 < block < top:
            taken += 1
            continue
        free(ctypes.c_void_p(block))
        size = size * 3 // 4 if size > 64 else size - 16
    return taken

"""A seccomp filter: the system calls that a program may make, and with which arguments. Standard library only.

An allow list: what is not named fails with EPERM (with ENOSYS if it is newer than the list, so that the C library falls
back), and the program sees an ordinary exception. The filter is a classic BPF program over `struct seccomp_data`
(linux/seccomp.h): one 32-bit mask per 32 system calls, found by binary search, then the few calls that are allowed with
certain arguments only. A new filter is loaded for every program, so it is short: loading is most of its price.
"""

from __future__ import annotations

import ctypes
import struct

from rltf.executor.syscalls import AUDIT_ARCH, MACHINE, NUMBERS, call, number

ALLOW, KILL = 0x7FFF0000, 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS = 1, 38
SET_MODE_FILTER, GET_ACTION_AVAIL = 1, 2
FLAG_SPEC_ALLOW = 4
"""Without it older kernels turn off speculation for the whole process, which guards nothing here: a program has no
secrets to itself."""

_LOAD, _LOAD_NUMBER, _EQUAL, _AT_LEAST, _ANY_BIT, _AND = 0x20, 0x00, 0x15, 0x35, 0x45, 0x54
_TO_X, _SHIFT_BY, _SHIFT_BY_X, _JUMP, _RETURN = 0x07, 0x74, 0x7C, 0x05, 0x06
_CALL, _ARCH, _ARGUMENTS = 0, 4, 16

CLONE_THREAD = 0x00010000
_NAMESPACES = 0x7E020000 | 0x80
AF_UNIX, SOCK_STREAM, SOCK_TYPE = 1, 1, 0xF
O_ACCMODE, O_TRUNC = 3, 0o1000
O_DIRECT = {"x86_64": 0o40000, "aarch64": 0o200000}
F_SETFL = 4
RLIMIT_CPU = 0
MADV_PAGEOUT, MADV_COLLAPSE = 21, 25
SIGKILL = 9

_FREE = frozenset(NUMBERS) - {
    "clone", "clone3", "kill", "tgkill", "prctl", "prlimit64", "setrlimit", "ioctl", "fcntl", "open", "openat",
    "socketpair", "sendto",
    "madvise", "fsync", "fdatasync", "msync", "preadv2", "pwritev2",
    "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
}  # fmt: skip
"""Calls that are allowed with any arguments."""
DONE = ("fsync", "fdatasync", "msync")
"""Calls that succeed and do nothing: what a program writes is in memory, and flushing a disk takes others' time and
none of its own."""
MISSING = ("clone3", "preadv2", "pwritev2")
"""Calls that the kernel seems not to have: the C library then does without, and without flags that read past the page
cache."""

# Values of an argument after masking; PID stands for the program's own process id.
PID = -1
Check = tuple[int, int, tuple[int, ...]]
_WHOLE = 0xFFFFFFFF
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_FCNTLS = (0, 1, 2, 3, F_SETFL, 5, 6, 7, 1030, 1031, 1032)  # DUPFD, flags, locks, DUPFD_CLOEXEC, pipe sizes
_PRCTLS = (15, 16, 0x53564D41)  # a thread's name, a mapping's name
CHECKED: dict[str, tuple[Check, ...]] = {
    "clone": ((0, CLONE_THREAD | _NAMESPACES, (CLONE_THREAD,)),),
    "prctl": ((0, _WHOLE, _PRCTLS),),
    "prlimit64": ((0, _WHOLE, (0, PID)),),
    "ioctl": ((1, _WHOLE, _IOCTLS),),
    "fcntl": ((1, _WHOLE, _FCNTLS),),
    "socketpair": ((0, _WHOLE, (AF_UNIX,)), (1, SOCK_TYPE, (SOCK_STREAM,))),
}
"""Calls that are allowed if each of these arguments, masked, has one of these values."""
REFUSED: dict[str, tuple[Check, ...]] = {
    # O_TRUNC without the right to write: older Landlock does not see it, and it empties the file.
    "open": ((1, O_TRUNC | O_ACCMODE, (O_TRUNC,)),),
    "openat": ((2, O_TRUNC | O_ACCMODE, (O_TRUNC,)),),
    # A hard limit on CPU time is enforced with SIGKILL, which would look as if it came from outside.
    "prlimit64": ((1, _WHOLE, (RLIMIT_CPU,)),),
    "setrlimit": ((0, _WHOLE, (RLIMIT_CPU,)),),
    # These wait for other cores or for the disk.
    "madvise": ((2, _WHOLE, (MADV_PAGEOUT, MADV_COLLAPSE)),),
}
"""Calls that are refused if this argument, masked, has one of these values."""
_SPECIAL = (
    "openat", "open", "fcntl", "ioctl", "madvise", "sendto", "clone", "clone3", "tgkill", "kill", "prctl", "prlimit64",
    "setrlimit",
    "socketpair", *DONE, "preadv2", "pwritev2",
)  # fmt: skip
"""All that is not free, what is called most first."""
DIRECT: dict[str, int] = {"open": 1, "openat": 2, "fcntl": 2}
"""Calls that are refused if this argument has the flag O_DIRECT, `fcntl` where it sets flags: waiting for a disk costs
no CPU time."""


class Assembler:
    """Classic BPF with labels."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}
        self._pids: list[int] = []

    def label(self, name: str) -> None:
        """Names the next instruction."""
        self._labels[name] = len(self._code)

    def add(self, code: int, value: int = 0, then: str = "", otherwise: str = "") -> None:
        """Appends an instruction; a jump goes to `then` or to `otherwise`, each the next instruction if empty."""
        if value == PID:
            self._pids.append(len(self._code))
            value = 0
        self._code.append((code, value, then, otherwise))

    def program(self) -> tuple[bytearray, list[int]]:
        """The instructions, and the offsets in bytes at which a process id is to be filled in."""
        data = bytearray()
        for place, (code, value, then, otherwise) in enumerate(self._code):
            jumps = [self._labels[name] - place - 1 if name else 0 for name in (then, otherwise)]
            if code == _JUMP:
                value, jumps = jumps[0], [0, 0]
            data += struct.pack("=HBBI", code, *jumps, value)
        return data, [8 * place + 4 for place in self._pids]


def assemble(machine: str = MACHINE) -> tuple[bytearray, list[int]]:
    """The filter for programs on a machine: its code, and the offsets at which the program's process id is to be filled
    in.
    """
    free = {code for name in _FREE if (code := number(name, machine)) is not None}
    masks = [sum(1 << bit for bit in range(32) if 32 * block + bit in free) for block in range(max(free) // 32 + 1)]
    out = Assembler()
    out.add(_LOAD, _ARCH)
    out.add(_EQUAL, AUDIT_ARCH[machine], "", "!end")
    out.add(_LOAD, _CALL)
    out.add(_AND, 31)
    out.add(_TO_X)
    out.add(_LOAD, _CALL)
    out.add(_SHIFT_BY, 5)
    _search(out, masks, 0, len(masks))
    out.label("masked")
    out.add(_SHIFT_BY_X)
    out.add(_ANY_BIT, 1, "!allow", "")
    out.label("special")
    out.add(_LOAD, _CALL)
    known = {name: code for name in NUMBERS if (code := number(name, machine)) is not None}
    special = [name for name in _SPECIAL if name in known]
    for name in special:
        out.add(_EQUAL, known[name], "!missing" if name in MISSING else "!done" if name in DONE else name, "")
    out.add(
        _AT_LEAST, 424, "!missing", "!refuse"
    )  # from here on all architectures share their numbers: newer than most C libraries
    for name in sorted(set(special) & (CHECKED.keys() | REFUSED.keys())):
        out.label(name)
        _checks(out, name, O_DIRECT[machine])
    for name, place in (("kill", 1), ("tgkill", 2)):
        # Signals to itself alone, and none that looks as if it had been killed from outside.
        out.label(name)
        _load(out, 0)
        out.add(_EQUAL, PID, "", "!refuse")
        _load(out, place)
        out.add(_EQUAL, SIGKILL, "!refuse", "!allow")
    out.label("sendto")  # to the other end only: without an address
    _load(out, 4)
    out.add(_EQUAL, 0, "", "!refuse")
    out.add(_LOAD, _ARGUMENTS + 8 * 4 + 4)
    out.add(_EQUAL, 0, "!allow", "!refuse")
    ends = (
        ("!allow", ALLOW),
        ("!refuse", ERRNO | EPERM),
        ("!missing", ERRNO | ENOSYS),
        ("!done", ERRNO),
        ("!end", KILL),
    )
    for name, action in ends:
        out.label(name)
        out.add(_RETURN, action)
    return out.program()


def _search(out: Assembler, masks: list[int], low: int, high: int) -> None:
    """Binary search for the mask of block A, which goes to A; ends at `masked`, or at `special` for a block without a
    mask.
    """
    if high - low > 1:
        middle = (low + high) // 2
        out.add(_AT_LEAST, middle, f"block {middle} to {high}", "")
        _search(out, masks, low, middle)
        out.label(f"block {middle} to {high}")
        _search(out, masks, middle, high)
        return
    if high == len(masks):
        out.add(_EQUAL, low, "", "special")  # or anything above
    out.add(_LOAD_NUMBER, masks[low])
    out.add(_JUMP, 0, "masked")


def _load(out: Assembler, argument: int) -> None:
    """The lower half of an argument: the kernel takes no more of those that are checked."""
    out.add(_LOAD, _ARGUMENTS + 8 * argument)


def _checks(out: Assembler, name: str, direct: int) -> None:
    """Every check of CHECKED holds, none of REFUSED does, and O_DIRECT is not among the flags."""
    checked, refused = CHECKED.get(name, ()), REFUSED.get(name, ())
    for place, (argument, mask, values) in enumerate((*checked, *refused)):
        holds, fails = (f"{name} {place}", "!refuse") if place < len(checked) else ("!refuse", f"{name} {place}")
        _load(out, argument)
        if mask != _WHOLE:
            out.add(_AND, mask)
        for value in values[:-1]:
            out.add(_EQUAL, value, holds, "")
        out.add(_EQUAL, values[-1], holds, fails)
        out.label(f"{name} {place}")
    if name in DIRECT:
        if name == "fcntl":
            out.add(_EQUAL, F_SETFL, "", "!allow")  # the command is still loaded
        _load(out, DIRECT[name])
        out.add(_AND, direct)
        out.add(_EQUAL, direct, "!refuse", "")
    out.add(_RETURN, ALLOW)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


class Filter:
    """A filter that is ready to be loaded, over and over, each time by another process."""

    def __init__(self, code: bytes | bytearray, pid_offsets: list[int]) -> None:
        """As from `assemble`."""
        self._code = (ctypes.c_char * len(code)).from_buffer_copy(bytes(code))
        self._offsets, self._pid = pid_offsets, 0
        self._program = _Program(len(code) // 8, ctypes.addressof(self._code))
        pointer = ctypes.byref(self._program)
        self._arguments = (SET_MODE_FILTER, FLAG_SPEC_ALLOW, pointer)
        self._older = (SET_MODE_FILTER, 0, pointer)

    def prepare(self, pid: int) -> None:
        """Fills the process id in, unless it is there already: where every program is process 1 that is done once."""
        if pid != self._pid:
            self._pid = pid
            for offset in self._offsets:
                struct.pack_into("=I", self._code, offset, pid)

    def load(self, pid: int) -> None:
        """From here on this process, whose id is `pid`, makes only allowed calls. Needs no_new_privs; cannot be undone.

        Raises OSError.
        """
        self.prepare(pid)
        try:
            call("seccomp", *self._arguments)
        except OSError as error:
            if error.errno != 22:
                raise
            call("seccomp", *self._older)  # a kernel older than the flag (4.17)


def available() -> str:
    """Empty if filters can be loaded here, else the reason."""
    if MACHINE not in AUDIT_ARCH:
        return f"no filter for {MACHINE}: x86_64 and aarch64 have one"
    try:
        call("seccomp", GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(KILL)))
    except OSError as error:
        return f"{error.strerror} (kernel without CONFIG_SECCOMP_FILTER, or older than 4.14)"
    return ""

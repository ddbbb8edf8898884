"""Landlock: which files a program may open, and whom it may signal, whatever user it runs as. Standard library only.

A ruleset is made once per lane; every program's process restricts itself with it, which takes microseconds. Kernels
know different versions (ABIs) of it; each right is asked for where the kernel knows it
(Documentation/userspace-api/landlock.rst).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from rltf.executor.syscalls import call

_CREATE_VERSION = 1
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG = (
    1 << bit for bit in range(9)
)
MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(9, 16))
READ = READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for something that is no folder may name."""
WORK_IN = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
"""What a program may do in its working folder: no links, devices, sockets or pipes there."""
_NETWORK = 0b11
_SCOPES = 0b11

REFER_ABI, TRUNCATE_ABI, NETWORK_ABI, IOCTL_ABI, SCOPE_ABI = 2, 3, 4, 5, 6


def abi() -> int:
    """The kernel's version of Landlock. Raises OSError where it has none, or it is switched off."""
    return call("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_VERSION))


def known_rights(version: int) -> int:
    """All file rights that a version knows."""
    last = (
        IOCTL_DEV
        if version >= IOCTL_ABI
        else TRUNCATE
        if version >= TRUNCATE_ABI
        else REFER
        if version >= REFER_ABI
        else MAKE_SYM
    )
    return 2 * last - 1


def make_ruleset(version: int, rules: Iterable[tuple[str | int, int]]) -> int:
    """A ruleset that allows nothing but `rules`: (path or descriptor, rights beneath it); paths that do not exist are
    left out.

    No TCP, no abstract sockets and no signals to processes outside where the kernel can say so. Returns a descriptor.
    Raises OSError.
    """
    rights = known_rights(version)
    fields = [rights, _NETWORK if version >= NETWORK_ABI else 0, _SCOPES if version >= SCOPE_ABI else 0]
    size = 8 * (3 if version >= SCOPE_ABI else 2 if version >= NETWORK_ABI else 1)
    ruleset = call("landlock_create_ruleset", struct.pack("=3Q", *fields), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path, allowed in rules:
        try:
            place = os.dup(path) if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            mask = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & OF_FILES
            rule = struct.pack("=Qi", allowed & mask, place)
            call("landlock_add_rule", ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        finally:
            os.close(place)
    return ruleset


def restrict(ruleset: int) -> None:
    """Holds this process, and all it will start, to a ruleset. Needs no_new_privs; cannot be undone. Raises OSError."""
    call("landlock_restrict_self", ctypes.c_int(ruleset), ctypes.c_uint32(0))

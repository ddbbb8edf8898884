"""More rights than a program has."""

from __future__ import annotations

from tests.support.attacks.common import RAW, Attack, tries

RIGHTS = [
    Attack(
        "rights",
        "becomes another user",
        "one user id without rights, seccomp",
        tries("""
os.setuid(0)
os.setgid(0)
os.setresuid(0, 0, 0)
os.setgroups([0])
os.seteuid(1)
"""),
    ),
    Attack(
        "rights",
        "namespaces of its own",
        "seccomp (unshare, setns, clone)",
        RAW
        + """
def attack():
    results = [_libc.unshare(flag) for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x10020000)]
    results += [_libc.setns(0, 0), call(56, 220, 0x10010f00, 0, 0, 0, 0)]
    return 'got it' if any(r >= 0 for r in results) else None
""",
    ),
    Attack(
        "rights",
        "looks into another process",
        "pid namespace or Landlock, seccomp",
        RAW
        + """
def attack():
    out = ctypes.create_string_buffer(64)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(out), 64)
    for pid in [p for p in range(1, 400) if p != os.getpid()] + [-1]:
        results = [call(101, 117, 16, pid, 0, 0), call(310, 270, pid, vector, 1, vector, 1, 0),
                   call(312, 272, pid, pid, 0, 0, 0), call(438, 438, 3, 0, 0)]
        if any(r >= 0 for r in results): return 'got it'
""",
    ),
    Attack(
        "rights",
        "slows or limits other processes",
        "seccomp",
        RAW
        + """
import resource
def attack():
    mask = (ctypes.c_ulong * 16)(1)
    limit = (ctypes.c_uint64 * 2)(1, 1)
    for pid in [p for p in range(1, 400) if p != os.getpid()] + [-1]:
        results = [call(141, 140, 0, pid, 19), call(203, 122, pid, 128, mask), call(302, 261, pid, 0, limit, 0),
                   call(144, 119, pid, 5, ctypes.byref(ctypes.c_int(0))), call(251, 30, 1, pid, 0)]
        if any(r >= 0 for r in results): return 'got it'
    if call(141, 140, 2, 0, 19) >= 0: return 'got it'
""",
    ),
    Attack(
        "rights",
        "kernel interfaces with a history",
        "seccomp (allow list)",
        RAW
        + """
def attack():
    b = ctypes.create_string_buffer(256)
    results = [call(321, 280, 5, b, 72), call(298, 241, b, 0, -1, -1, 0),
        call(425, 425, 8, b), call(323, 282, 0), call(248, 217, b'user', b'a', b, 1, -3), call(250, 219, 0, -3, 0), call(319, 279, b'a', 0),
        call(294, 26, 0), call(300, 262, 0, 0), call(282, 74, -1, b, 8, 0), call(154, None, 1, b, 16), call(175, 105, b, 1, b''),
        call(246, 104, 0, 0, 0, 0), call(169, 142, 0, 0, 0, 0), call(135, 92, 0), call(278, 75, 1, b, 1, 0),
        call(275, 76, 0, 0, 1, 0, 1, 0),
        call(29, 194, 0, 4096, 0o1600), call(64, 190, 0, 1, 0o1600), call(68, 186, 0, 0o1600), call(240, 180, b'a', 0o102, 0o600, 0),
        call(103, 116, 3, b, 256), call(444, 444, b, 8, 0), call(317, 277, 0, 0, 0), call(157, 167, 22, 1, 0, 0, 0),
        call(157, 167, 4, 1, 0, 0, 0), call(157, 167, 1, 0, 0, 0, 0), call(126, 91, b, b), call(447, 447, 0)]
    return 'got it' if any(r >= 0 for r in results) else None
""",
    ),
    Attack(
        "rights",
        "system calls in 32-bit numbers",
        "seccomp ends the process",
        RAW
        + r"""
import mmap
def attack():
    if not _X86: return None
    code = b'\xb8\x14\0\0\0\xcd\x80\xc3'
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return 'got it' if function() > 0 else None
""",
    ),
    Attack(
        "rights",
        "system calls in x32 numbers",
        "seccomp",
        RAW
        + """
def attack():
    return 'got it' if any(call(0x40000000 + n, None) >= 0 for n in (39, 57, 186)) else None
""",
    ),
]

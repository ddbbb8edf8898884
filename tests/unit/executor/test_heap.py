"""Which parts of an interpreter's code fit into huge pages."""

from __future__ import annotations

from rltf.executor.heap import HUGE_BYTES, code_windows

MAPS = """00400000-0041f000 r--p 00000000 fe:00 5000 /usr/bin/python3.11
0041f000-006cf000 r-xp 0001f000 fe:00 5000 /usr/bin/python3.11
006cf000-00946000 r--p 002cf000 fe:00 5000 /usr/bin/python3.11
00946000-00a85000 rw-p 00546000 fe:00 5000 /usr/bin/python3.11
7f0000100000-7f0000300000 r-xp 00000000 fe:00 5001 /opt/lib/libpython3.13.so.1.0
7f0000300000-7f00003ff000 r--p 00200000 fe:00 5001 /opt/lib/libpython3.13.so.1.0
7f0000400000-7f0000600000 r-xp 00000000 fe:00 5002 /usr/lib/python3.11/lib-dynload/_json.so
7f0000600000-7f0000800000 r-xp 00000000 fe:00 5003 /usr/lib/libc.so.6
7f0000800000-7f0000a00000 r-xp 00000000 00:00 0
"""


def test_only_whole_aligned_read_only_parts_of_the_interpreter_itself_are_moved() -> None:
    assert code_windows(MAPS) == [0x400000, 0x600000]
    assert code_windows(MAPS.replace("7f00003ff000", "7f0000400000")) == [0x400000, 0x600000, 0x7F0000200000]
    assert code_windows(MAPS.replace("006cf000 r-xp", "006cf000 rwxp")) == []
    assert HUGE_BYTES == 0x200000 and code_windows("") == []

"""Files of the host, and of the next program."""

from __future__ import annotations

from tests.support.attacks.common import RAW, Attack, tries

FILES = [
    Attack(
        "files",
        "reads the host's files",
        "read-only root, Landlock",
        tries("""
open('/etc/passwd')
open('/etc/hostname')
open('@CANARY@/secret')
open('@PROJECT@/config/base.py')
open('/root/.profile')
os.listdir('/home')
os.listdir('@CANARY@')
os.listdir('/sys')[0]
assert set(os.listdir('/')) - set('box dev etc host lib lib32 lib64 packages proc root tmp usr opt home'.split())
"""),
    ),
    Attack(
        "files",
        "deletes and overwrites the host's files",
        "read-only root, Landlock",
        tries(
            """
os.unlink('@CANARY@/file')
os.rename('@CANARY@/file', '@CANARY@/gone')
os.rename('@CANARY@/file', 'mine')
os.rmdir('@CANARY@/folder')
shutil.rmtree('@CANARY@/folder')
open('@CANARY@/file', 'w')
open('@CANARY@/file', 'a')
""",
            "import os, shutil",
        ),
    ),
    Attack(
        "files",
        "makes files outside its folder",
        "read-only root, Landlock",
        tries("""
open('@CANARY@/new', 'w')
os.mkdir('@CANARY@/new')
os.mkfifo('@CANARY@/new')
open('/var/tmp/@MARK@', 'w')
open('/owned', 'w')
open('/usr/lib/owned', 'w')
open(os.__file__, 'a')
os.mknod('@CANARY@/new')
open('/dev/tty', 'w')
"""),
    ),
    Attack(
        "files",
        "changes modes, owners, times and attributes",
        "seccomp, read-only root",
        tries("""
os.chmod('@CANARY@/file', 0)
os.chmod('@CANARY@', 0)
os.chown('@CANARY@/file', os.getuid(), -1)
os.utime('@CANARY@/file')
os.setxattr('@CANARY@/file', 'user.a', b'1')
os.truncate('@CANARY@/file', 0)
os.chmod(os.__file__, 0)
"""),
    ),
    Attack(
        "files",
        "empties a file that it opens for reading",
        "seccomp (O_TRUNC without writing)",
        tries("""
os.open('@CANARY@/file', os.O_RDONLY | os.O_TRUNC)
"""),
    ),
    Attack(
        "files",
        "links out of its folder",
        "Landlock, seccomp",
        tries("""
os.symlink('@CANARY@/secret', 'link')
os.link('@CANARY@/secret', 'link')
os.symlink('/', 'root')
open('../../../../../../../../etc/passwd')
os.open('etc/passwd', os.O_RDONLY, dir_fd=os.open('/', os.O_PATH))
"""),
    ),
    Attack(
        "files",
        "reads through /proc",
        "no /proc, Landlock",
        tries("""
open('/proc/self/mem', 'rb')
open('/proc/self/maps')
open('/proc/self/environ')
open('/proc/1/environ')
os.listdir('/proc/self/fd')
os.listdir('/proc/1/root')
open('/proc/self/root/etc/passwd')
open('/proc/sys/kernel/core_pattern', 'w')
open('/proc/self/oom_score_adj', 'w')
"""),
    ),
    Attack(
        "files",
        "mounts, changes root, opens by handle",
        "no capabilities, seccomp",
        RAW
        + """
def attack():
    results = [_libc.chroot(b'/'), _libc.mount(b'none', b'.', b'tmpfs', 0, None), _libc.umount2(b'/box', 2)]
    results += [call(155, 41, b'.', b'.'), call(303, 264, -100, b'/', (ctypes.c_int * 40)(128), ctypes.byref(ctypes.c_int()), 0)]
    results += [call(304, 265, 0, (ctypes.c_int * 40)(8, 1), 0), call(428, 428, -100, b'/', 1), call(430, 430, b'tmpfs', 0)]
    return 'got it' if any(r >= 0 for r in results) else None
""",
    ),
    Attack(
        "files",
        "makes a device",
        "no capabilities, seccomp",
        tries("""
os.mknod('disk', 0o60666, os.makedev(254, 0))
os.mknod('mem', 0o20666, os.makedev(1, 1))
"""),
    ),
    Attack(
        "files",
        "leaves files for the next program",
        "the folder is emptied",
        r"""
import os
def attack():
    here = os.getcwd()
    for i in range(300):
        os.mkdir('d'); os.chdir('d')
    open('x', 'w').close()
    os.chdir(here)
    os.mkdir('closed', 0)
    os.mkdir('\n0'); open('\n0/a', 'w').close()
    os.umask(0o777)
    os.mkdir('dark'); open(b'\xff\xfe', 'w').close()
""",
        wants="harm",
    ),
]

"""Memory, disk, output and time without end."""

from __future__ import annotations

from tests.support.attacks.common import LIMIT_S, RAW, Attack, forever, tries

RESOURCES = [
    Attack(
        "memory",
        "memory bomb",
        "limit on address space",
        """
def attack():
    kept = [bytearray(1 << 26) for i in range(40)]
    return 'got it'
""",
    ),
    Attack(
        "memory",
        "memory that the limit does not count",
        "seccomp (memfd, shared memory, huge pages), size of the working folder",
        tries(
            """
fill(os.memfd_create('a'))
posixshmem()
assert call(29, 194, 0, 1 << 30, 0o1666) >= 0
mmap.mmap(-1, 1 << 31)
fill(os.open('/dev/shm/big', os.O_RDWR | os.O_CREAT))
fill(os.open('big', os.O_RDWR | os.O_CREAT))
""",
            RAW
            + """
import mmap, multiprocessing.shared_memory as shared
def fill(fd):
    for i in range(300): os.write(fd, bytes(1 << 20))
def posixshmem():
    shared.SharedMemory(create=True, size=1 << 30)
""",
        ),
    ),
    Attack(
        "memory",
        "raises its limits",
        "hard limits, no capabilities",
        tries(
            """
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
resource.setrlimit(resource.RLIMIT_NPROC, (100000, 100000))
resource.setrlimit(resource.RLIMIT_NOFILE, (100000, 100000))
resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
""",
            "import resource",
        ),
    ),
    Attack(
        "memory",
        "a long integer",
        "CPU limit, in C code as well",
        """
def attack():
    return len(str(7 ** (1 << 27) % (10 ** 1000)))
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "memory",
        "a huge return value",
        "limit on address space, size of the report",
        """
def attack():
    return [0] * 40_000_000
""",
        wants="harm",
    ),
    Attack(
        "memory",
        "a deeply nested return value",
        "depth limit of plain data",
        """
def attack():
    x = []
    for i in range(100000): x = [x]
    return x
""",
        wants="harm",
    ),
    Attack(
        "disk",
        "fills the disk",
        "a file system of 16 MiB, or the size watched",
        """
def attack():
    for i in range(300):
        with open(str(i), 'wb') as file: file.write(bytes(4 << 20))
    return 'got it'
""",
    ),
    Attack(
        "disk",
        "a million files",
        "limit on files of the working folder",
        """
def attack():
    for i in range(200_000):
        open(str(i), 'wb').close()
    return 'got it'
""",
    ),
    Attack(
        "disk",
        "one huge file",
        "limit on file size",
        """
import os
def attack():
    with open('big', 'wb') as file: file.truncate(1 << 40)
    return 'got it'
""",
    ),
    Attack(
        "output",
        "floods standard output",
        "limit on file size",
        forever("""
print('x' * 100_000)
"""),
        wants="harm",
        slow=True,
    ),
    Attack(
        "output",
        "floods standard error",
        "CPU limit; nothing is kept",
        forever("""
os.write(2, b'x' * 100_000)
"""),
        wants="harm",
        slow=True,
    ),
    Attack(
        "output",
        "floods the report",
        "limit on file size",
        forever("""
os.write(3, b'x' * 100_000)
"""),
        wants="harm",
    ),
    Attack(
        "output",
        "fills pipes and descriptors",
        "limit on descriptors",
        """
import fcntl, os
def attack():
    for i in range(100):
        r, w = os.pipe()
        fcntl.fcntl(w, 1031, 1 << 20)
        os.write(w, bytes(1 << 16))
    return 'got it'
""",
    ),
    Attack(
        "time",
        "loops",
        "CPU limit",
        forever("""
pass
"""),
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "sleeps",
        "idle time",
        """
import time
def attack():
    time.sleep(1000)
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "waits for itself",
        "idle time",
        """
import threading
def attack():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "sleeps and works in turns",
        "idle time adds up",
        forever(
            """
time.sleep(0.01)
sum(range(1000))
""",
            "import time",
        ),
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "loops inside C code",
        "the timer's handler is C code",
        """
import re
def attack():
    return re.match('(a*)*b', 'a' * 40)
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "shares the work among threads",
        "the clock counts all threads",
        """
import hashlib, threading
def work():
    while True: hashlib.sha256(bytes(1 << 20))
def attack():
    for i in range(4): threading.Thread(target=work).start()
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "a little more than allowed, timer blocked",
        "CPU clock read from outside",
        f"""
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
def attack():
    while time.process_time() < {LIMIT_S} + 0.5: pass
    return 'got it'
""",
        slow=True,
    ),
    Attack(
        "time",
        "a little more than allowed, and reports less",
        "its report is held against the clock; then only limits set from outside count",
        f"""
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
def attack():
    while time.process_time() < {LIMIT_S} * 1.8: pass
    if __name__ == '__main__':
        os.write(1, b'got it\\n')
        os.write(3, b'[0,1,7]\\n"end"\\n')
    else:
        os.write(3, b'[0,1,"got it"]\\n"end"\\n')
    os._exit(0)
""",
        slow=True,
    ),
    Attack(
        "time",
        "claims tests that it has not done, to get their time",
        "total CPU limit; claims are no results",
        r"""
import os
def attack():
    os.write(3, b'[0,1,0]\n' * 1000)
    while True: pass
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "waits for the disk to flush",
        "seccomp (nothing is flushed)",
        forever(
            """
os.fsync(d)
os.fdatasync(d)
m.flush()
""",
            """
import mmap, os
d = os.open(os.__file__, os.O_RDONLY)
m = mmap.mmap(d, 0, prot=mmap.PROT_READ)
""",
        ),
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "waits for the other cores",
        "seccomp (membarrier, madvise)",
        RAW
        + """
import mmap
m = mmap.mmap(-1, 8 << 20)
for i in range(0, 8 << 20, 4096): m[i] = 1
a = ctypes.addressof(ctypes.c_char.from_buffer(m)) + (2 << 20) - 1 & ~((2 << 20) - 1)
def attack():
    while True:
        call(324, 283, 1, 0, 0)
        call(28, 233, a, 4096, 4)
        call(28, 233, a, 2 << 20, 25)
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "reads past the page cache, which takes the disk's time",
        "seccomp (O_DIRECT, preadv2, fadvise)",
        tries(
            """
os.close(os.open(os.__file__, os.O_RDONLY | os.O_DIRECT))
fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETFL, os.O_DIRECT)
os.preadv(os.open(os.__file__, os.O_RDONLY), [bytearray(4096)], 0, 128)
os.posix_fadvise(os.open(os.__file__, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
""",
            "import fcntl, os",
        ),
    ),
    Attack(
        "time",
        "sleeps between the looks of who watches it",
        "looks at times that nobody can foresee",
        """
import time
def attack():
    start, look = time.monotonic(), 0
    while True:
        look += 1
        time.sleep(max(0.0, start + 0.0505 * look - 0.006 - time.monotonic()))
        until = time.monotonic() + 0.008
        while time.monotonic() < until: pass
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "time",
        "limits and timers of its own that kill it as if from outside",
        "seccomp (RLIMIT_CPU, timer_create)",
        RAW
        + """
import resource
event, timer = (ctypes.c_int * 16)(0, 0, 9, 0), ctypes.c_int()
limit = (ctypes.c_long * 2)(1, 1)
def attack():
    try: resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    except (OSError, ValueError): pass
    else: return 'got it'
    results = [call(302, 261, 0, 0, limit, None), call(160, 164, 0, limit), call(222, 107, 1, event, ctypes.byref(timer))]
    return 'got it' if any(r >= 0 for r in results) else None
""",
    ),
    Attack(
        "output",
        "millions of lines, for who has to read them",
        "lines are read one by one, and no further than they may matter",
        r"""
import os
def attack():
    try: os.write(3, b'[0]\n' * 3000000)
    except OSError: pass
    os.write(1, b'1\n' * 7000000)
    os._exit(0)
""",
        wants="harm",
    ),
]

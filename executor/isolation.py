"""What keeps a program inside its lane: the tier of the lane, and what each program's process is held to.

Standard library only. Runs inside the zygote, which is started with nothing of the project on its path. Two tiers, and
what remains without them:

    A     once per lane: namespaces, a root of its own, Landlock on itself; per program: a pid namespace, then limits,
          no rights, seccomp
    B     per program: Landlock, then limits, no rights, seccomp; for hosts that allow no namespaces
    none  whatever of these the host has; only if the user asked for it (`executor.unsafe`)

A layer that the host refuses is reported as off with the reason.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
from typing import Literal

from rltf.executor import landlock, seccomp
from rltf.executor.namespaces import DEVICES, LIBRARIES, LaneNamespaces, new_pid_namespace, spare_uid
from rltf.executor.syscalls import check, libc

Tier = Literal["A", "B", "none"]
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
STACK_BYTES = 256 << 20
CPU_CLOCK = 2
SHARED_PROCESSES = 1024
"""Where a program's threads count with all others of its user, it may have this many more than there were when its lane
started."""

_timer_library = libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)
# Looked up once: for every program anew it would cost a tenth of all the pages that its process writes to.
_timer_create, _timer_settime, _prctl, _capset = (
    _timer_library.timer_create,
    _timer_library.timer_settime,
    libc.prctl,
    libc.capset,
)


class Refused(Exception):
    """A tier cannot be had on this host; the reason."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _SignalEvent(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    ]


class Isolation:
    """The isolation of one zygote: `enter` in the process that becomes its parent, then `confine` in the one that
    serves.
    """

    def __init__(self, tier: Tier, python_paths: list[str], packages: list[str], box: str) -> None:
        """`python_paths`, `packages`: folders, and files, that programs may read.

        `box`: working folder where the lane has no root of its own.
        """
        self.tier = tier
        self.layers: dict[str, str] = {}
        """Layer -> "on", or "off: reason"."""
        self.box = box
        self.own_root = False
        self.proc = -1
        """Descriptor of a /proc that shows this lane's processes; -1 if there is none."""
        self._python_paths, self._packages = python_paths, packages
        self._namespaces = LaneNamespaces(python_paths, packages)
        self._pid_namespace = -1
        self._uid: int | None = None
        self._ruleset = -1
        self._filter: seccomp.Filter | None = None
        self._processes: int | None = None

    def enter(self) -> bool:
        """Unshares the lane's namespaces; whether there are any, and the next fork's child is inside.

        Raises Refused.
        """
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("800")  # if memory runs out, the kernel ends a lane and not the trainer
            self.layers["memory shortage ends lanes first"] = "on"
        except OSError as error:
            self.layers["memory shortage ends lanes first"] = f"off: {error}"
        if self.tier != "A":
            return False
        try:
            self._uid = self._namespaces.enter()
        except OSError as error:
            raise Refused(f"namespaces: {error}") from None
        self.layers["namespaces"] = "on"
        self.layers["user namespace"] = (
            "off: " + self._namespaces.user_namespace if self._namespaces.user_namespace else "on"
        )
        return True

    def confine(self) -> None:
        """Sets up root, working folder and privileges.

        Raises Refused where the tier cannot be had, OSError otherwise.
        """
        _prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        if self.tier == "A":
            self._settle()
        else:
            self.layers["namespaces"] = self.layers["read-only root"] = self.layers["pid namespace per program"] = (
                "off: not in this tier"
            )
            self.proc = beyond_standard(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY))
            _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._choose_user()
        check(_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # of one user, yet no process of the lane may look into another's memory
        self._prepare_landlock()
        self._prepare_seccomp()

    def _settle(self) -> None:
        try:
            own, proc = self._namespaces.settle()
            self.layers["read-only root"] = "on"
            self.own_root, self.box = True, "/box"
            self._pid_namespace = beyond_standard(own)
            new_pid_namespace(self._pid_namespace)
        except OSError as error:
            raise Refused(f"namespaces: {error}") from None
        self.layers["pid namespace per program"] = self.layers["user id without rights"] = self.layers[
            "process limit"
        ] = "on"
        if proc >= 0:
            self.proc = beyond_standard(proc)
        if self._uid is None and _release() < (5, 14):
            # Older kernels count a user's processes across user namespaces.
            self._limit_shared_processes()

    def _choose_user(self) -> None:
        """Tier B and none: programs of root's lanes change to a user id of the lane's own."""
        self.layers["process limit"] = self.layers["user id without rights"] = "on"
        self._uid = spare_uid() if os.geteuid() == 0 else None
        if self._uid is None:
            self._limit_shared_processes()
            return
        hidden = next((path for path in self._packages if not _readable_by_all(path)), None)
        if hidden is not None:
            self.layers["packages"] = f"off: {hidden} cannot be read by a user without rights"
        hidden = next((path for path in self._python_paths if not _readable_by_all(path)), None)
        if hidden is None:
            os.chown(self.box, self._uid, self._uid)
            return
        reason = (
            f"{hidden} cannot be read by a user without rights: chmod o+x the folders above it, or name another "
            "executor.python"
        )
        if self.tier == "B":
            raise Refused(f"user id: {reason}")
        self._uid = None
        self.layers["user id without rights"] = f"off: {reason}"
        self._limit_shared_processes()

    def _limit_shared_processes(self) -> None:
        self._processes = SHARED_PROCESSES + _threads_of(os.getuid(), self.proc)
        self.layers["process limit"] = "on"

    def _prepare_landlock(self) -> None:
        try:
            version = landlock.abi()
            self._ruleset = beyond_standard(landlock.make_ruleset(version, self._rules()))
            if self.tier == "A":
                landlock.restrict(self._ruleset)
        except OSError as error:
            if self.tier == "B":
                raise Refused(f"Landlock: {error}") from None
            self._ruleset = -1
            self.layers["Landlock"] = f"off: {error}"
            return
        self.layers["Landlock"] = "on"

    def _rules(self) -> list[tuple[str | int, int]]:
        use = landlock.READ_FILE | landlock.WRITE_FILE
        rules: list[tuple[str | int, int]] = [("/dev/null", use), ("/dev/zero", use), (self.box, landlock.WORK_IN)]
        if self.tier == "A":
            return [*rules, ("/", landlock.READ), *([(self.proc, landlock.READ)] if self.proc >= 0 else [])]
        return rules + [(path, landlock.READ) for path in (*LIBRARIES, *DEVICES, *self._python_paths, *self._packages)]

    def _prepare_seccomp(self) -> None:
        reason = seccomp.available()
        if reason and self.tier != "none":
            raise Refused(f"seccomp: {reason}")
        if reason:
            self.layers["seccomp"] = f"off: {reason}"
            return
        self._filter = seccomp.Filter(*seccomp.assemble())
        self._filter.prepare(1)
        self.layers["seccomp"] = "on"

    @property
    def threads_only(self) -> bool:
        """Whether a program can start no process: its own is the only one, and nobody inside can kill it from
        outside.
        """
        return self._filter is not None

    def before_fork(self) -> None:
        """In the zygote: what has to be done for each program's process. Raises OSError."""
        if self._pid_namespace >= 0:
            new_pid_namespace(self._pid_namespace)

    def restrict_files(self) -> None:
        """In the program's process, while it still has the lane's descriptors. Raises OSError."""
        if self._pid_namespace < 0:
            _prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
            if self._ruleset >= 0:
                landlock.restrict(self._ruleset)

    def limit(self, memory_bytes: int, file_bytes: int, cpu_s: int, processes: int) -> None:
        """In the program's process: its limits, and no rights any more. Raises OSError."""
        set_limit = resource.setrlimit
        set_limit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        set_limit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        set_limit(resource.RLIMIT_NOFILE, (64, 64))
        set_limit(resource.RLIMIT_CORE, (0, 0))
        set_limit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        processes = self._processes or processes
        set_limit(resource.RLIMIT_NPROC, (processes, processes))
        if self._uid is not None:
            os.setgroups([])
            os.setresgid(self._uid, self._uid, self._uid)
            os.setresuid(self._uid, self._uid, self._uid)  # clears the capabilities as well
            if self._pid_namespace < 0:
                _prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)  # a change of user clears it
        check(_capset(_CAPABILITIES, _NO_CAPABILITIES), "capset")

    def filter_calls(self) -> None:
        """In the program's process, last: only allowed system calls from here on. Raises OSError."""
        if self._filter is not None:
            self._filter.load(os.getpid())

    def clean_box(self) -> None:
        """Empties the working folder if the last program left something in it. Raises OSError when that fails."""
        if os.listdir(self.box):
            empty(self.box)


_CAPABILITIES = ctypes.byref(_CapabilityHeader(0x20080522, 0))
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()


def empty(folder: str) -> None:
    """Removes what is in a folder, however deeply nested, and nothing that a link in it points to. Raises OSError."""
    # What is in subfolders is moved up first: no path grows long, and nothing is visited twice.
    number = 0
    while names := os.listdir(folder):
        for name in names:
            path = os.path.join(folder, name)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            for inner in os.listdir(path):
                while os.path.lexists(os.path.join(folder, f"\n{number}")):
                    number += 1
                inside = os.path.join(path, inner)
                if stat.S_ISDIR(os.lstat(inside).st_mode):
                    os.chmod(inside, 0o700)  # only a folder that its owner may write can be moved
                os.rename(inside, os.path.join(folder, f"\n{number}"))
            os.rmdir(path)


class CpuTimer:
    """A timer on this process's CPU clock, all threads included.

    Unlike ITIMER_PROF it is not sampled by the scheduler's tick.
    """

    def __init__(self, signal: int) -> None:
        """`signal` is what it sends."""
        self._event = ctypes.byref(_SignalEvent(None, signal, 0, b""))
        self._timer = ctypes.c_void_p()
        self._address = ctypes.byref(self._timer)
        self._span = (ctypes.c_long * 4)()

    def create(self) -> None:
        """Makes the timer; timers are not inherited over a fork. Raises OSError."""
        check(_timer_create(CPU_CLOCK, self._event, self._address), "timer_create")

    def start(self, nanoseconds: int) -> None:
        """The signal comes after so many nanoseconds of CPU time from now."""
        self._span[2], self._span[3] = divmod(nanoseconds, 1_000_000_000)
        _timer_settime(self._timer, 0, self._span, None)


def beyond_standard(descriptor: int) -> int:
    """Moves a descriptor out of the way of those a program gets."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(descriptor)
    return moved


def stack_is_small() -> bool:
    """Raises the stack limit of this process as far as allowed; True if a new exec is needed for it to take effect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        return True
    return False


def kill_stragglers() -> None:
    """Without a filter: ends processes that a program left behind and that were handed to this one. Raises OSError."""
    me = os.getpid()
    for _ in range(100):
        try:
            with open(f"/proc/{me}/task/{me}/children") as file:
                left = [int(text) for text in file.read().split()]
        except FileNotFoundError:
            return
        if not left:
            return
        for pid in left:
            os.kill(pid, 9)
        for pid in left:
            os.waitpid(pid, 0)
    raise OSError(errno.EAGAIN, "a program's processes multiply faster than they can be ended")


def _readable_by_all(path: str) -> bool:
    """Whether every folder on the way to a path may be entered by anyone."""
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


def _threads_of(uid: int, proc: int) -> int:
    """Threads that a user has at present, as far as /proc shows them."""
    count = 0
    for name in os.listdir(proc) if proc >= 0 else ():
        if name.isdigit():
            try:
                if os.stat(name, dir_fd=proc).st_uid == uid:
                    tasks = os.open(f"{name}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
                    count += len(os.listdir(tasks))
                    os.close(tasks)
            except OSError:
                continue  # it has just ended
    return count


def _release() -> tuple[int, ...]:
    """The kernel's version."""
    numbers = os.uname().release.partition("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())

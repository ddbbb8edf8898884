"""What keeps a program inside its lane: namespaces, a minimal read-only root, limits. Linux, ctypes and the standard library alone.

Runs inside the zygote, which is started with nothing of the project on its path. Per lane (once): mount, network, IPC, UTS
and pid namespaces, a root of its own that holds a Python installation and an empty /box, no_new_privs. Per program:
a pid namespace, a session, resource limits, no capabilities, a user id without rights. A layer that the host refuses is
reported as off with the reason; the limits and the killed process group remain.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import shutil
import stat

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
LANE_NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MS_NOATIME, MS_NODIRATIME, MS_RELATIME, ST_RELATIME = 1024, 2048, 1 << 21, 4096
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
FIRST_LANE_UID = 0x10000000
"""Where lanes run as root, a lane's programs get a user id of their own from here on, so that process limits are counted apart."""
BOX_BYTES = 16 << 20
STACK_BYTES = 256 << 20
CPU_CLOCK = 2

libc = ctypes.CDLL(None, use_errno=True)
_timer_library = libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _SignalEvent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("padding", ctypes.c_char * 48)]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _check(libc.mount(*names, ctypes.c_ulong(flags), None if data is None else os.fsencode(data)), f"mount {target}")


def _readable_by_all(path: str) -> bool:
    """Whether every folder on the way to a path may be entered by anyone."""
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


class Isolation:
    """The isolation of one zygote: `enter` in the process that becomes its parent, then `confine` in the child that serves."""

    def __init__(self) -> None:
        """Nothing is on yet."""
        self.layers: dict[str, str] = {}
        """Layer -> "on", or "off: reason"."""
        self.uid: int | None = None
        self.pid_namespaces = False
        self.box = ""
        self.mounted = False
        self.proc = -1
        self._own_pid_namespace = -1

    def enter(self, namespaces: bool) -> bool:
        """Unshares the lane's namespaces; the next fork's child is inside. True if that worked."""
        lane_uid = FIRST_LANE_UID + os.getpid()
        if os.geteuid() == 0:
            self.uid = lane_uid
        try:
            _write("/proc/self/oom_score_adj", "800")  # if memory runs out, the kernel ends a lane and not the trainer
            self.layers["memory shortage ends lanes first"] = "on"
        except OSError as error:
            self.layers["memory shortage ends lanes first"] = f"off: {error}"
        if not namespaces:
            self.layers["namespaces"] = "off: not asked for"
            return False
        if os.geteuid() == 0 and libc.unshare(LANE_NAMESPACES) == 0:
            self.layers["namespaces"] = "on"
            return True
        uid, gid = os.geteuid(), os.getegid()
        try:
            _check(libc.unshare(LANE_NAMESPACES | CLONE_NEWUSER), "unshare")
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"65534 {uid} 1")
            _write("/proc/self/gid_map", f"65534 {gid} 1")
        except OSError as error:
            self.layers["namespaces"] = f"off: {error}"
            return False
        self.uid = None  # the user namespace knows one user id only
        self.layers["namespaces"] = "on"
        self.layers["user namespace"] = "on"
        return True

    def confine(self, inside: bool, python_paths: list[str], packages: list[str], box: str) -> None:
        """Sets up root, working folder and privileges. `box` is the working folder where no root of the lane's own is to be had."""
        self.box = box
        libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        if inside:
            self._own_pid_namespace = beyond_standard(os.open("/proc/self/ns/pid", os.O_RDONLY))
            try:
                self._make_root(python_paths, packages)
                self.layers["read-only root"] = "on"
                self.mounted = True
                self.box = "/box"
            except OSError as error:
                self.layers["read-only root"] = f"off: {error}"
        else:
            self.proc = beyond_standard(os.open("/proc", os.O_PATH | os.O_DIRECTORY))
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if self.uid is not None and not self.mounted:
            hidden = next((path for path in (*python_paths, *packages) if not _readable_by_all(path)), None)
            if hidden is None:
                os.chown(self.box, self.uid, self.uid)
            else:
                self.uid = None
                self.layers["user id without rights"] = f"off: {hidden} cannot be read by another user"
        _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # of one user, yet no process of the lane may look into another's memory
        default = "on" if self.uid is not None or inside else "off: runs as the user who started it"
        self.layers.setdefault("user id without rights", default)
        self.layers["process limit"] = "on" if self.uid is not None or inside else "off: would count the user's other processes"
        if inside:
            try:
                self.new_pid_namespace()
                self.pid_namespaces = True
                self.layers["pid namespace per program"] = "on"
            except OSError as error:
                self.layers["pid namespace per program"] = f"off: {error}"

    def _make_root(self, python_paths: list[str], packages: list[str]) -> None:
        """A tmpfs with Python, its shared libraries and four device files, everything read-only but /box.

        The new root is pivoted onto /tmp first, so that no folder of the host has to be sacrificed as its mount point and
        everything that is bound stays visible under /host (the way bubblewrap does it).
        """
        real = {path: os.path.realpath(path) for path in (*python_paths, *packages)}
        _mount(None, "/", None, MS_REC | MS_PRIVATE)
        _mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        os.mkdir("/tmp/host")
        _check(libc.pivot_root(b"/tmp", b"/tmp/host"), "pivot_root")
        os.chdir("/")
        for path in ("/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/share/zoneinfo", "/lib", "/lib64", "/lib32"):
            self._bring(path)
        for path in python_paths:
            self._bring(real[path], path)
        for path in packages:
            self._bring(real[path], "/packages/" + os.path.basename(path))
        os.makedirs("/etc", exist_ok=True)
        if os.path.exists("/host/etc/ld.so.cache"):
            self._bring("/etc/ld.so.cache")
        os.mkdir("/dev")
        for device in ("null", "zero", "random", "urandom"):
            self._bring("/dev/" + device, device=True)
        os.mkdir("/proc")
        try:
            _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            self.proc = beyond_standard(os.open("/proc", os.O_PATH | os.O_DIRECTORY))
            libc.umount2(b"/proc", MNT_DETACH)  # the zygote keeps its descriptor, programs see an empty folder
        except OSError as error:
            self.layers["run-queue clock"] = f"off: {error}"
        os.mkdir("/box")
        for name in ("/tmp", "/dev/shm"):
            os.symlink("/box", name)
        _check(libc.umount2(b"/host", MNT_DETACH), "umount of the host's root")
        os.rmdir("/host")
        _mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
        self._mount_box()

    def _bring(self, path: str, name: str = "", device: bool = False) -> None:
        """Binds a path of the host read-only to the same name; links are made again as links."""
        source, target = "/host" + path, name or path
        try:
            mode = os.lstat(source).st_mode
        except FileNotFoundError:
            return
        if os.path.lexists(target):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
            return
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(source, target, None, MS_BIND | MS_REC)
        # Flags that the host's mount has are locked in a user namespace and must be named again; statvfs and mount number them alike
        # but for relatime.
        flags = os.statvfs(target).f_flag
        locked = flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME) | (MS_RELATIME if flags & ST_RELATIME else 0)
        own = MS_NOSUID if device else MS_NOSUID | MS_NODEV | MS_RDONLY
        _mount(None, target, None, MS_REMOUNT | MS_BIND | own | locked)

    def _mount_box(self) -> None:
        _mount("tmpfs", "/box", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={BOX_BYTES},nr_inodes=1024")

    def clean_box(self) -> None:
        """Empties the working folder if the last program left something in it. Raises OSError when that fails."""
        if not os.listdir(self.box):
            return
        if self.mounted:
            _check(libc.umount2(b"/box", MNT_DETACH), "umount /box")
            self._mount_box()
            return
        for name in os.listdir(self.box):
            path = os.path.join(self.box, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def new_pid_namespace(self) -> None:
        """The next fork's child is pid 1 of a pid namespace of its own; whatever it leaves behind dies with it."""
        # Only one namespace may be pending, so step back to the lane's own first.
        _check(libc.setns(self._own_pid_namespace, CLONE_NEWPID), "setns")
        _check(libc.unshare(CLONE_NEWPID), "unshare(pid)")

    def run_queue_wait_s(self, pid: int) -> float:
        """Seconds that a process was ready but had no core to run on; 0 where the kernel does not tell."""
        fields = self._read_proc(f"{pid}/schedstat").split()
        return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0

    def cpu_s_inside(self) -> float:
        """CPU seconds of all processes in the lane but this one: a program may have many. 0 where the lane has no /proc of its own."""
        if not self.pid_namespaces or self.proc < 0:
            return 0.0
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.proc)
        try:
            pids = [name for name in os.listdir(listing) if name.isdigit() and name != str(os.getpid())]
        finally:
            os.close(listing)
        ticks = 0
        for pid in pids:
            fields = self._read_proc(f"{pid}/stat").rpartition(b")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])  # user and system time, its own and that of children waited for
        return ticks / os.sysconf("SC_CLK_TCK")

    def _read_proc(self, name: str) -> bytes:
        """A file of the lane's /proc; empty when there is none, or its process has ended."""
        if self.proc < 0:
            return b""
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        except OSError:
            return b""
        try:
            return os.read(file, 4096)
        except OSError:
            return b""
        finally:
            os.close(file)


def limit_program(lane: Isolation, memory_bytes: int, file_bytes: int, cpu_s: int, processes: int) -> None:
    """In the program's process, before any of its code: limits, then no rights. Raises OSError."""
    set_limit = resource.setrlimit
    set_limit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    set_limit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    set_limit(resource.RLIMIT_NOFILE, (64, 64))
    set_limit(resource.RLIMIT_CORE, (0, 0))
    set_limit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if lane.layers["process limit"] == "on":
        set_limit(resource.RLIMIT_NPROC, (processes, processes))
    if lane.uid is not None:
        os.setgroups([])
        os.setresgid(lane.uid, lane.uid, lane.uid)
        os.setresuid(lane.uid, lane.uid, lane.uid)  # clears the capabilities as well
    else:
        _check(libc.capset(_CAPABILITIES, _NO_CAPABILITIES), "capset")


_CAPABILITIES = ctypes.byref(_CapabilityHeader(0x20080522, 0))
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()


class CpuTimer:
    """A timer on this process's CPU clock, all threads included. Unlike ITIMER_PROF it is not sampled by the scheduler's tick."""

    def __init__(self, signal: int) -> None:
        """`signal` is what it sends."""
        self._event = ctypes.byref(_SignalEvent(None, signal, 0, b""))
        self._timer = ctypes.c_void_p()
        self._address = ctypes.byref(self._timer)
        self._span = (ctypes.c_long * 4)()

    def create(self) -> None:
        """Makes the timer; timers are not inherited over a fork. Raises OSError."""
        _check(_timer_library.timer_create(CPU_CLOCK, self._event, self._address), "timer_create")

    def start(self, nanoseconds: int) -> None:
        """The signal comes after so many nanoseconds of CPU time from now."""
        self._span[2], self._span[3] = divmod(nanoseconds, 1_000_000_000)
        _timer_library.timer_settime(self._timer, 0, self._span, None)


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
    """Without a pid namespace: ends processes that a program left behind and that were handed to this one. Raises OSError."""
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


def address_space() -> int:
    """Bytes of address space that this process has mapped: a program's memory limit is added to them."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

"""A lane's namespaces and its root: a tmpfs with a Python installation, four device files and an empty /box.

Standard library only.

The same for root and for an ordinary user in the end: a user namespace that maps one user id without rights, in it a
mount, network, IPC, UTS and pid namespace. Root sets the tree up first, with its own rights, because the user id that
the lane gets afterwards could not even enter root's home folder, where the Python installation may be.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from rltf.executor.syscalls import check, libc

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MS_NOATIME, _MS_NODIRATIME, _MS_RELATIME, _ST_RELATIME = 1024, 2048, 1 << 21, 4096
_MNT_DETACH = 2
INNER_ID = 65534
"""The one user and group id of a lane's user namespace."""
FIRST_LANE_UID = 0x10000000
"""Where lanes are started by root, each gets a user id of its own from here on, so that nothing on the host belongs to
it."""
BOX_BYTES, BOX_FILES = 16 << 20, 1024
LIBRARIES = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/lib",
    "/lib64",
    "/lib32",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
STREAMS = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
"""Paths that programs open (`executor.streams`), and look for first: there is /dev/null."""
_TREE = "/tmp"


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises OSError."""
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check(libc.mount(*names, ctypes.c_ulong(flags), None if data is None else os.fsencode(data)), f"mount {target}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    check(libc.unshare(ctypes.c_int(flags)), "unshare")


def spare_uid() -> int | None:
    """A user id that nothing on the host belongs to, for a lane that root starts; None where root's own is the only one
    there is.
    """
    with open("/proc/self/uid_map") as file:
        extents = [(int(first), int(count)) for first, _, count in (line.split() for line in file)]
    wanted = FIRST_LANE_UID + os.getpid()
    if any(first <= wanted < first + count for first, count in extents):
        return wanted
    first, count = max(extents)  # a container's map: the highest ids in it are the least likely to be anyone's
    return first + count - 2 - os.getpid() % min(1000, count - 1) if count > 2 else None


class LaneNamespaces:
    """`enter` in the process that is to become the parent of the lane, then `settle` in its next child, the lane."""

    def __init__(self, python_paths: Iterable[str], packages: Iterable[str]) -> None:
        """Folders that the lane's programs are to see: a Python installation's at their own paths, packages under
        /packages.
        """
        self._python_paths, self._packages = list(python_paths), list(packages)
        self._tree_stands = False
        self.user_namespace = ""
        """Empty once the lane has one, else the reason."""

    def enter(self) -> int | None:
        """Unshares. Raises OSError where the host does not allow it.

        Returns:
            User id that programs must change to, None where the lane has one without rights already.
        """
        if os.geteuid() != 0:
            uid, gid = os.getuid(), os.getgid()
            unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
            write_maps("/proc/self", uid, gid, deny_groups=True)
            return None
        lane_uid = spare_uid()
        try:
            os.setgroups([])
        except PermissionError:
            pass  # the root of a user namespace that has none to give up
        try:
            unshare(CLONE_NEWNS)
        except OSError:
            pass  # root of a container, who may only do this in a user namespace: the tree is made there then
        else:
            self._make_tree()
        try:
            self._enter_user_namespace(lane_uid or 0)
        except OSError as error:
            if not self._tree_stands:
                raise
            self.user_namespace = str(error)
            unshare(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
            return lane_uid
        return None

    def _enter_user_namespace(self, uid: int) -> None:
        """As root: a helper, which stays outside and so keeps the right to, writes the maps. Raises OSError."""
        me = f"/proc/{os.getpid()}"
        ours, theirs = os.pipe()
        helper = os.fork()
        if helper == 0:
            status = 1
            try:
                os.close(theirs)
                if os.read(ours, 1):
                    write_maps(me, uid, uid, deny_groups=False)
                    status = 0
            finally:
                os._exit(status)
        try:
            unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
            os.write(theirs, b"1")
        finally:
            os.close(ours)
            os.close(theirs)
            _, status = os.waitpid(helper, 0)
        if status:
            raise PermissionError(1, f"user id {uid} cannot be mapped into a user namespace")
        os.setresgid(INNER_ID, INNER_ID, INNER_ID)
        os.setresuid(INNER_ID, INNER_ID, INNER_ID)

    def settle(self) -> tuple[int, int]:
        """In the lane, the first process of its pid namespace: makes the tree its root. Raises OSError.

        Returns:
            Descriptors of the lane's pid namespace and of its own /proc, which no path leads to any more; -1 where the
            host allows none.
        """
        pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        if self._tree_stands:
            mount(
                _TREE, _TREE, None, _MS_BIND | _MS_REC
            )  # a mount of this namespace's own: those it was born with are locked
        else:
            self._make_tree()
        check(libc.sethostname(b"lane", 4), "sethostname")
        check(libc.pivot_root(os.fsencode(_TREE), os.fsencode(_TREE + "/host")), "pivot_root")
        os.chdir("/")
        proc = -1
        try:
            mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        except PermissionError:
            pass  # a container whose own /proc is masked in places: a full one is refused
        else:
            proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            check(libc.umount2(b"/proc", _MNT_DETACH), "umount /proc")
        check(libc.umount2(b"/host", _MNT_DETACH), "umount of the host's root")
        mount(
            "tmpfs",
            "/box",
            "tmpfs",
            _MS_NOSUID | _MS_NODEV | _MS_NOEXEC,
            f"mode=1777,size={BOX_BYTES},nr_inodes={BOX_FILES}",
        )
        return pid_namespace, proc

    def _make_tree(self) -> None:
        mount(None, "/", None, _MS_REC | _MS_PRIVATE)
        wanted = [(path, path) for path in (*LIBRARIES, *DEVICES)]
        wanted += [("/dev/null", path) for path in STREAMS]
        wanted += [(os.path.realpath(path), path) for path in self._python_paths]
        wanted += [(os.path.realpath(path), "/packages/" + os.path.basename(path)) for path in self._packages]
        # Opened before the tree is mounted: that may hide them.
        sources = [(path, target, _opened(path)) for path, target in wanted]
        mount("tmpfs", _TREE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
        for name in ("host", "proc", "box"):
            os.mkdir(f"{_TREE}/{name}")
        for path, target, descriptor in sources:
            if descriptor is not None:
                _bring(descriptor, _TREE + target, path in DEVICES)
                os.close(descriptor)
        for name in ("tmp", "dev/shm"):
            os.symlink("/box", f"{_TREE}/{name}")
        mount(None, _TREE, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        self._tree_stands = True


def write_maps(process: str, uid: int, gid: int, deny_groups: bool) -> None:
    """Maps INNER_ID of a process's user namespace to a user and a group outside. Raises OSError."""
    files = [("uid_map", f"{INNER_ID} {uid} 1"), ("gid_map", f"{INNER_ID} {gid} 1")]
    for name, text in [("setgroups", "deny"), *files] if deny_groups else files:
        with open(f"{process}/{name}", "w") as file:
            file.write(text)


def _opened(path: str) -> int | None:
    """A path's descriptor, of the link itself if it is one; None if there is no such file."""
    try:
        return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _bring(descriptor: int, target: str, device: bool) -> None:
    """Binds what is open read-only to a new name; a link is made again as a link."""
    if os.path.lexists(target):
        return
    mode = os.fstat(descriptor).st_mode
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink("", dir_fd=descriptor), target)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(f"/proc/self/fd/{descriptor}", target, None, _MS_BIND | _MS_REC)
    # Flags that the host's mount has are locked in a user namespace and must be named again; statvfs and mount number
    # them alike but for relatime.
    flags = os.statvfs(target).f_flag
    locked = flags & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_NOATIME | _MS_NODIRATIME) | (
        _MS_RELATIME if flags & _ST_RELATIME else 0
    )
    own = _MS_NOSUID if device else _MS_NOSUID | _MS_NODEV | _MS_RDONLY
    mount(None, target, None, _MS_REMOUNT | _MS_BIND | own | locked)


def new_pid_namespace(own: int) -> None:
    """The next fork's child is pid 1 of a pid namespace of its own; whatever it leaves behind dies with it.

    Raises OSError.

    `own`: descriptor of the pid namespace that this process is in.
    """
    # Only one namespace may be pending, so step back to the own one first.
    check(libc.setns(own, CLONE_NEWPID), "setns")
    check(libc.unshare(CLONE_NEWPID), "unshare(pid)")

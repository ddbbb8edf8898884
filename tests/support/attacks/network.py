"""Anybody who listens."""

from __future__ import annotations

from tests.support.attacks.common import Attack, tries

NETWORK = [
    Attack(
        "network",
        "TCP to a server on this machine",
        "network namespace, seccomp (socket), Landlock",
        tries(
            """
socket.create_connection(('127.0.0.1', @PORT@), 1)
socket.create_connection(('::1', @PORT@), 1)
urllib.request.urlopen('http://127.0.0.1:@PORT@/', timeout=1)
""",
            "import socket, urllib.request",
        ),
    ),
    Attack(
        "network",
        "UDP, raw and netlink sockets",
        "seccomp (socket)",
        tries(
            """
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@))
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
socket.socket(40, socket.SOCK_STREAM)
socket.socket(38, socket.SOCK_SEQPACKET)
""",
            "import socket",
        ),
    ),
    Attack(
        "network",
        "sockets of other processes by name",
        "seccomp (socket), network namespace, Landlock",
        tries(
            r"""
socket.socket(socket.AF_UNIX).connect('\0@MARK@')
socket.socket(socket.AF_UNIX).connect('@CANARY@/socket')
socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '\0@MARK@')
socket.socketpair()[0].connect('\0@MARK@')
socket.socketpair()[0].sendto(b'x', '@CANARY@/socket')
""",
            "import socket",
        ),
    ),
    Attack(
        "network",
        "opens a server",
        "seccomp (socket, bind, listen)",
        tries(
            r"""
socket.create_server(('127.0.0.1', 0))
socket.socketpair()[0].bind('\0mine')
socket.socketpair()[0].listen()
""",
            "import socket",
        ),
    ),
    Attack(
        "network",
        "passes descriptors",
        "seccomp (sendmsg)",
        tries(
            """
socket.send_fds(socket.socketpair()[0], [b'x'], [0])
socket.send_fds(socket.socket(fileno=4), [b'x'], [0])
""",
            "import socket",
        ),
    ),
    Attack(
        "network",
        "asks for a name",
        "network namespace, seccomp",
        tries(
            """
socket.getaddrinfo('example.org', 80)
""",
            "import socket",
        ),
    ),
]

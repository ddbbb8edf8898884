"""Assertions that need a data set's own code: one process has the program, another the tests, and only plain data
passes between.

The test process sees the program's functions and objects as proxies. What a proxy answers is the program's word and may
be wrong, so nothing that decides a test is left to it: proxies are equal only to themselves and refuse to be ordered.
Standard library only; both sides run in the zygote's forks.
"""

from __future__ import annotations

import builtins
import importlib
import json
import operator
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from rltf.executor.child import class_of, find_function, limit_kind, line_of, message_of, report
from rltf.executor.isolation import CpuTimer
from rltf.executor.plaindata import MAX_CALL_NODES, decode, encode
from rltf.executor.protocol import FILENAME, RPC
from rltf.executor.sites import surroundings
from rltf.executor.streams import own_null


def _send(connection: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(4, "little") + data)


def _receive(connection: socket.socket) -> Any:
    """Next message; None when the peer has gone."""
    head = _exactly(connection, 4)
    body = None if head is None else _exactly(connection, int.from_bytes(head, "little"))
    return None if body is None else json.loads(body)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        try:
            part = connection.recv(min(count - len(data), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda subject, arguments, named: subject(*arguments, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "iter": iter,
    "next": next,
    "len": len,
    "bool": bool,
    "str": str,
}
"""What the tests' side may do with an object of the program."""


_HOLDERS = (int, float, str, bytearray, list, tuple, set, frozenset, dict)
"""Kinds of which a subclass's object may stand for what it holds: counters, named tuples, enumerations."""


class _Server:
    """The program's side: does what it is asked, hands out plain data and handles."""

    def __init__(self, job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
        self._job, self._limit_ns, self._timer = job, limit_ns, timer
        self._connection = socket.socket(fileno=RPC)
        self._objects: list[Any] = []
        self._code: Any = None
        self._surroundings = surroundings(job["program"], job["site"], job["prelude"], called=True)

    def keep(self, value: Any) -> int | None:
        """Handle of an object; None for one of which the tests are to have what it holds."""
        if self._job["plain"] and (isinstance(value, _HOLDERS) or type(value).__module__ == "numpy"):
            return None
        for handle, kept in enumerate(self._objects):
            if kept is value:
                return handle
        self._objects.append(value)
        return len(self._objects) - 1

    def run(self) -> None:
        self._timer.start(self._limit_ns)
        try:
            self._code = compile(self._job["program"], FILENAME, "exec", dont_inherit=True)
        except BaseException as error:
            line = line_of(error, error.__traceback__)
            name = class_of(error, compiling=True)
            report(json.dumps([3, time.process_time_ns() // 1000, 0, name, line, message_of(error), ""]))
            return
        me = os.getpid()
        while (message := _receive(self._connection)) is not None:
            try:
                answer = ["ok", encode(self._do(message), self.keep)]
            except StopIteration:
                answer = ["stop"]
            except BaseException as error:
                answer = [
                    "error",
                    class_of(error),
                    line_of(error, error.__traceback__),
                    message_of(error),
                    limit_kind(error),
                ]
            if os.getpid() != me:
                os._exit(0)
            _send(self._connection, answer)

    def _do(self, message: list[Any]) -> Any:
        operation, target, *rest = message
        if operation == "begin":
            return self._begin(target)
        arguments = [decode(argument, MAX_CALL_NODES, self._objects.__getitem__) for argument in rest]
        return _OPERATIONS[operation](self._objects[target], *arguments)

    def _begin(self, names: list[str]) -> dict[str, Any]:
        """Runs the program afresh for one test and returns what of it the test mentions."""
        self._timer.start(self._limit_ns)
        report(f"[0,{time.process_time_ns() // 1000},0]")
        self._objects.clear()
        module = ModuleType("solution")
        sys.modules["solution"] = module
        module.__dict__.update(self._surroundings.names)
        sys.setrecursionlimit(self._surroundings.recursion_limit)
        exec(self._code, module.__dict__)
        found = {}
        for name in names:
            try:
                found[name] = find_function(module.__dict__, name)
            except NameError:
                continue  # the test will say so, at the place where it needs the name
        return found


def serve(job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
    """The job of a program's process: {"program": text, "site": text, "prelude": text, "plain": whether what an
    object holds is all that the tests want of it}.
    """
    own_null()
    _Server(job, limit_ns, timer).run()


class _ProgramGone(BaseException):
    """The program's process has ended; why is in its own report."""


class _Remote:
    """An object of the program, seen from the tests."""

    def __init__(self, link: _Link, handle: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_handle", handle)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        return self._link.ask(operation, self._handle, *arguments)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._ask("call", list(arguments), named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", key)

    def __iter__(self) -> Any:
        iterator = self._ask("iter")
        if not isinstance(iterator, _Remote):
            raise TypeError("not an iterator")
        while True:
            try:
                value = iterator._ask("next")
            except StopIteration:
                return
            yield value

    def __next__(self) -> Any:
        return self._ask("next")

    def __len__(self) -> int:
        return int(self._ask("len"))

    def __bool__(self) -> bool:
        return bool(self._ask("bool"))

    def __eq__(self, other: object) -> bool:
        self._link.odd = True
        return self is other

    def __hash__(self) -> int:
        self._link.odd = True
        return object.__hash__(self)

    def __repr__(self) -> str:
        self._link.odd = True
        return object.__repr__(self)

    def __str__(self) -> str:
        return str(self._ask("str"))


def _handle_of(value: Any) -> int:
    """Handle under which the program knows a value.

    Raises TypeError for objects of the tests' own, which it cannot have.
    """
    if isinstance(value, _Remote):
        return int(value._handle)
    raise TypeError(f"a {type(value).__name__} cannot be passed to the program's process")


class _Link:
    """The tests' side of the socket."""

    def __init__(self) -> None:
        self._connection = socket.socket(fileno=RPC)
        self.odd = False
        """Whether a test has asked something of an object of the program that only the program's process could answer.
        """

    def ask(self, operation: str, target: Any, *arguments: Any) -> Any:
        """One question. Raises what the program raised, marked as its own, or _ProgramGone."""
        try:
            _send(self._connection, [operation, target, *(encode(argument, _handle_of) for argument in arguments)])
            answer = _receive(self._connection)
        except (ConnectionError, ValueError, RecursionError):
            answer = None
        if not isinstance(answer, list) or not answer:
            raise _ProgramGone
        if answer[0] == "ok":
            return decode(answer[1], MAX_CALL_NODES, lambda handle: _Remote(self, handle))
        if answer[0] == "stop":
            if operation == "next":
                raise StopIteration
            answer = ["error", "StopIteration", None, "", ""]
        _, name, line, message, kind = answer
        known = getattr(builtins, name, None)
        if not (isinstance(known, type) and issubclass(known, Exception)) or issubclass(
            known, StopIteration | StopAsyncIteration
        ):
            # the end of an iteration would end those of the tests, with whatever they have left unchecked
            known = RuntimeError
        try:
            error = known(message)
        except TypeError:
            error = RuntimeError(message)
        error.of_program = (name, line, message, kind)  # type: ignore[attr-defined]
        raise error


def ask(job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
    """The job of the tests' process: {"setup": text, "asserts": [text, ..], "names": [..], "modules": [..]}.

    Reports per test [cpu_us, odd, "pass"], .. "failed", message], .. "raised", class, line, message, kind] (by the
    program), .. "error", class, message] (by the test itself) or .. "gone"], and "end" when it got through. `odd`: the
    tests looked at objects of the program, of which only proxies are here.
    """
    os.dup2(2, 0)
    link = _Link()
    setup = compile(job["setup"], "<setup>", "exec", dont_inherit=True)
    names: dict[str, Any] = {}
    for text in job["asserts"]:
        timer.start(limit_ns)
        start, link.odd = time.process_time_ns(), False
        try:
            # Nothing but what the tests want of the program: it must not put an `abs` of its own before Python's.
            given = link.ask("begin", job["names"])
            names = {name: given[name] for name in job["names"] if name in given}
            if hidden := [name for name in job["names"] if name not in given and hasattr(builtins, name)]:
                raise NameError(f"name '{hidden[0]}' is not defined")  # Python's own is not what is tested
            names |= {name: importlib.import_module(name) for name in job["modules"]}
            exec(setup, names)
            exec(compile(text, "<test>", "exec", dont_inherit=True), names)
            verdict: list[Any] = ["pass"]
        except _ProgramGone:
            report('[0,false,"gone"]')
            return
        except BaseException as error:
            verdict = _verdict(error)
        odd = link.odd or (verdict[0] == "error" and verdict[1] != "NameError") or _lacks_a_name_of(names, verdict)
        report(json.dumps([(time.process_time_ns() - start) // 1000, odd, *verdict]))
    report('"end"')


def _lacks_a_name_of(names: dict[str, Any], verdict: list[Any]) -> bool:
    """Whether the program counts on a name that the tests define, as it might if both were one file."""
    found = (
        re.match(r"name '(\w+)' is not defined", str(verdict[3])) if verdict[:2] == ["raised", "NameError"] else None
    )
    return found is not None and found[1] in names


def _verdict(error: BaseException) -> list[Any]:
    if hasattr(error, "of_program"):
        return ["raised", *error.of_program]
    if isinstance(error, AssertionError):
        return ["failed", message_of(error)]
    return ["error", type(error).__name__, message_of(error)]

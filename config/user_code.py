"""A user's own Python files (`run.code`): read once, sent to every worker as text, and named `module:name`.

Whatever is wrong with them is one sentence with the file and the line.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from rltf.config.base import UserError, first_line

MAX_BYTES = 1 << 20
"""Of all files together: each worker gets them."""
MAX_FILES = 1000
_MAX_LOOKED_AT = 20_000
"""Folders and files below `run.code`, of any kind."""
_NAME = re.compile(r"(?:[^\W\d]\w*\.)*[^\W\d]\w*:[^\W\d]\w*")


def is_user_name(name: str) -> bool:
    """Whether it is written `module:name`, as nothing of the project's own is."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class UserCode:
    """The Python files of a folder, wherever they are used."""

    folder: str = ""
    """Where they were read."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text by path below the folder, in order."""

    @classmethod
    def read(cls, folder: str | Path) -> UserCode:
        """The `.py` files below a folder, but for hidden ones; no files for an empty name.

        Raises UserError when it is no folder, holds no such file or too much, or a file is no text.
        """
        if not str(folder):
            return cls()
        root, looked_at, size = Path(folder), 0, 0
        if not root.is_dir():
            raise UserError(f"run.code {folder}: there is no such folder; name the folder that holds your .py files")
        found: list[Path] = []
        for parent, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
            found += [Path(parent, name) for name in names if name.endswith(".py") and not name.startswith(".")]
            looked_at += len(folders) + len(names)
            if looked_at > _MAX_LOOKED_AT or len(found) > MAX_FILES:
                raise UserError(f"run.code {folder} holds too many files: name one that has your own .py files alone")
        files: dict[str, str] = {}
        for path in sorted(found):
            try:
                files[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
                size += path.stat().st_size
            except OSError as error:
                raise UserError(f"run.code: {path} cannot be read: {error.strerror or error}") from None
            except UnicodeDecodeError:
                raise UserError(f"run.code: {path} is no UTF-8 text") from None
        if not files:
            raise UserError(f"run.code {folder} holds no .py file")
        if size > MAX_BYTES:
            raise UserError(f"run.code {folder} holds {size:,} bytes of Python, and each worker gets at most 1 MiB")
        return cls(str(root), files)

    @property
    def hash(self) -> str:
        """Of all names and texts: BLAKE2b, 16 bytes, hex; empty where there is no file."""
        return blake2b(repr(sorted(self.files.items())).encode(), digest_size=16).hexdigest() if self.files else ""

    def write(self, folder: Path) -> None:
        """Writes the files below `folder`, where there are any. Raises OSError."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def install(self) -> None:
        """From here on this process imports the files, after all that it has otherwise, and `user_named` finds
        them; files that were installed before are gone.
        """
        global _installed
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _installed]
        for name, module in list(sys.modules.items()):
            if getattr(module, "__loader__", None) is _installed:
                del sys.modules[name]
        _installed = _Importer(self)
        if self.files:
            sys.meta_path.append(_installed)


NO_CODE = UserCode()


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports the files from their texts."""

    def __init__(self, code: UserCode) -> None:
        self.code = code
        self.modules: dict[str, tuple[str, str]] = {}
        """File below the folder and its text, by the module's name; a package without __init__.py has no text."""
        for file, text in code.files.items():
            path = PurePosixPath(file)
            for parent in path.parents:
                if parent.name:
                    self.modules.setdefault(".".join(parent.parts), (f"{parent}/__init__.py", ""))
            parts = path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts
            self.modules[".".join(parts)] = file, text

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.modules:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self.get_filename(fullname),
            loader=self,
            submodule_search_locations=[] if self.is_package(fullname) else None,
        )

    def get_filename(self, fullname: str) -> str:
        return str(Path(self.code.folder) / self.modules[fullname][0])

    def get_source(self, fullname: str) -> str:
        return self.modules[fullname][1]

    def is_package(self, fullname: str) -> bool:
        return self.modules[fullname][0].endswith("__init__.py")

    def has(self, module: ModuleType) -> bool:
        """Whether a module is one of the files, be it that Python found the file itself."""
        return module.__name__ in self.modules and module.__file__ == self.get_filename(module.__name__)


_installed = _Importer(NO_CODE)


def user_named(name: str, where: str) -> Any:
    """What a name `module:name` stands for; `where`: the key that gives it.

    Raises UserError when there is no such file or name, or the file cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    code, began = _installed.code, f"{where} {name}"
    if not code.files:
        raise UserError(f"{began} is of your own files: set run.code to the folder of {module_name.split('.')[0]}.py")
    if module_name not in _installed.modules:
        raise UserError(f"{began}: {code.folder} has no {module_name.replace('.', '/')}.py; it has {_few(code.files)}")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise UserError(f"{began} cannot be imported: {said(error)}") from error
    if not _installed.has(module):
        raise UserError(
            f"{began}: Python has another module {module_name} ({getattr(module, '__file__', None) or 'built in'}), "
            f"which comes first: give {_installed.get_filename(module_name)} another name"
        )
    if not hasattr(module, attribute):
        known = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module_name]
        raise UserError(f"{began}: {module.__file__} has no {attribute}; it has {_few(known)}")
    return getattr(module, attribute)


def user_class(name: str, where: str, needs: Sequence[str]) -> Any:
    """A class of the user's with the attributes that it needs. Raises UserError as `user_named` does."""
    found = user_named(name, where)
    missing = [attribute for attribute in needs if not hasattr(found, attribute)]
    if not isinstance(found, type) or missing:
        what = f"has no {', no '.join(missing)}" if isinstance(found, type) else "is no class"
        raise UserError(f"{where} {name} ({place_of(found) or _file_of(name)}) {what}")
    return found


class UserFunction:
    """A function of the user's, whose errors are sentences."""

    def __init__(
        self, name: str, where: str, parameters: Sequence[str], failure: Callable[[str], Exception] = UserError
    ) -> None:
        """`parameters`: what it is called with, in words; `failure`: made of the sentence for what it does wrong later.

        Raises UserError when there is no such function, or it does not take so many arguments.
        """
        self.name = name
        self._where = where
        self._failure = failure
        self._function = user_named(name, where)
        self.place = place_of(self._function) or _file_of(name)
        called = f"it is called as {name.partition(':')[2]}({', '.join(parameters)})"
        if not callable(self._function) or isinstance(self._function, type):
            raise UserError(f"{where} {name} ({self.place}) is no function; {called}")
        try:
            signature = inspect.signature(self._function)
            signature.bind(*parameters)
        except TypeError:
            raise UserError(f"{where} {name} ({self.place}) takes {signature}; {called}") from None
        except ValueError:
            pass  # written in C, without a signature

    def call(self, subject: str, *arguments: Any) -> Any:
        """What the function gives. Raises the failure where it raises anything; `subject`: what it is asked about."""
        try:
            return self._function(*arguments)
        except (Exception, SystemExit) as error:
            raise self._failure(f"{self._where} {self.name} failed for {subject}: {said(error)}") from error

    def refused(self, subject: str, value: Any, wanted: str) -> Exception:
        """The failure for a value that is not what it should be."""
        return self._failure(f"{self._where} {self.name} ({self.place}) gave {value!r:.80} for {subject}, not {wanted}")


def place_of(thing: Any) -> str:
    """File and line of a function or class; empty where they cannot be told."""
    try:
        thing = inspect.unwrap(thing)
        if code := getattr(thing, "__code__", None):
            return f"{code.co_filename}, line {code.co_firstlineno}"
        return f"{inspect.getsourcefile(thing)}, line {inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError, ValueError):
        return ""


def said(error: BaseException) -> str:
    """An exception in a sentence: file and line of the user's that it came from, its kind, and what it says."""
    own = {_installed.get_filename(name) for name in _installed.modules}
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename in own:
        return f"{error.filename}, line {error.lineno}: {kind}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename in own:
            return f"{frame.filename}, line {frame.lineno}: {kind}: {first_line(error)}"
    return f"{kind}: {first_line(error)}"


def _file_of(name: str) -> str:
    module = name.partition(":")[0]
    return _installed.get_filename(module)


def _few(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"

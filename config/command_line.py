"""The command line: a command's own options, by argparse, and the fields of the configuration that it reads; each
mistake in one sentence.

`Arguments` is one command's. Its help lists what the command takes and nothing else, with the values that each field
may have.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, NoReturn

from rltf.config.base import UserError
from rltf.config.choice import first_sentence
from rltf.config.help import Described, described, keys, sections
from rltf.program import PROGRAM

REMOVED = {"learner.weight_transfer": "every version travels by the weight store"}
"""Keys of earlier versions, with what holds without them. A file may still name them, as recorded runs do."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""What word processors and web pages make of `-`."""
_FIELD = re.compile(r"[\w-]+\.[\w.-]+")
_WIDEST = 140


class Arguments(argparse.ArgumentParser):
    """The arguments of one command. Errors are a UserError, without a usage text in front."""

    words: ClassVar[Mapping[str, Callable[[], str]]] = {}
    """What the words stand for that the help writes in place of values (`config.choice.Word`); asked when it is
    shown."""

    def __init__(
        self,
        command: str,
        description: str,
        reads: Iterable[str] = (),
        commands: Mapping[str, str] | None = None,
        brief: Sequence[str] = (),
    ) -> None:
        """Arguments without options of their own yet.

        Args:
            command: its name, empty for the program itself.
            description: what it does, in a sentence.
            reads: parts of the configuration, or dotted keys, that it takes. A key may be followed by a blank and the
                default that this command has for it.
            commands: of the program itself, every command with a sentence. Its help is brief: it names the parts of the
                configuration, and lists the fields of one where `--help PART` asks for them.
            brief: dotted keys, of a command that reads many: its help lists these alone, in a few words each, and the
                others where `--help PART` or `--help-all` asks for them.

        """
        super().__init__(
            prog=f"{PROGRAM} {command}".strip(),
            description=description,
            allow_abbrev=False,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        fields = [name.partition(" ") for name in reads]
        self._reads = [key for name, _, _ in fields for key in ([name] if "." in name else keys(name))]
        self._defaults = {name: default for name, _, default in fields if default}
        self._commands = commands
        self._brief = brief
        self._is_brief = commands is not None or bool(brief)
        if commands is not None:
            self.usage = f"{PROGRAM} [COMMAND] [options] [--part.field VALUE ...]"
        if not self._is_brief:
            self.add_argument("-h", "--help", action="store_true", help="show this text")  # read before all else
        else:
            what = "show this text, or the fields of a part of the configuration"
            self.add_argument("-h", "--help", nargs="?", metavar="PART", help=what)
            self.add_argument("--help-all", action="store_true", help="show this text and all fields")

    def read(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str]]:
        """The command's own options, and the fields that are given beside them.

        Raises UserError when something is unknown, given twice, or lacks its value, and SystemExit with 0 after
        printing the help.
        """
        self._help_if_asked(arguments)
        rest, fields = self._split(arguments)
        options, unknown = self.parse_known_args(rest)
        if unknown:
            self._refuse(unknown[0])
        return options, fields

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; {self.prog} --help has more")

    def _split(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Takes the fields of the configuration, `--part.field VALUE` or `--part.field=VALUE`, out of the arguments."""
        rest: list[str] = []
        fields: dict[str, str] = {}
        seen: set[str] = set()
        words = iter(arguments)
        for word in words:
            _refuse_odd_dashes(word)
            name, equals, value = word.partition("=")
            if not name.startswith("--"):
                rest.append(word)
                continue
            key = name[2:]
            if not _FIELD.fullmatch(key):
                if name in seen:
                    raise UserError(f"{name} is given twice: leave one of them out")
                seen.add(name)
                rest.append(word)
                continue
            self._refuse_unknown_field(key)
            if not equals:
                given = next(words, None)
                if given is None or given.startswith("--"):
                    raise UserError(f"{name} needs a value: {name} {described(key).values}")
                value = given
            if fields.setdefault(key, value) != value:
                raise UserError(f"{name} is given twice, as {fields[key]!r} and as {value!r}: leave one of them out")
        return rest, fields

    def _refuse_unknown_field(self, key: str) -> None:
        if key in self._reads:
            return
        known = keys()
        if key in known:
            reads = ", ".join(self._reads) or "no field of the configuration"
            raise UserError(f"{self.prog} does not read --{key}: it reads {reads}")
        raise UserError(f"unknown key {key} on the command line{nearest_key(key, self._reads or known)}")

    def _refuse(self, word: str) -> NoReturn:
        """Raises UserError for an argument that nothing takes."""
        bare, equals, value = word.lstrip("-").partition("=")
        options = [option for action in self._actions for option in action.option_strings]
        if bare in keys():
            meant = f"--{bare}{' ' + value if equals else ' VALUE'}"
            raise UserError(f"unexpected argument {word!r}: a field is written with two dashes, {meant}")
        if word.startswith("-"):
            near = [
                name[2:] for name in difflib.get_close_matches("--" + bare.replace("_", "-"), options, n=1, cutoff=0.7)
            ]
            near = near or [key for key in self._reads if key.split(".")[1] == bare.replace("-", "_")]
            parts = [part for part in sections() if part == bare]
            hint = (
                f"did you mean {' or '.join(f'--{name}' for name in near)}?" if near
                else f"{bare} is a part of the configuration, whose fields are --{bare}.FIELD ({self.prog} --help "
                     f"{bare})" if parts
                else f"{self.prog} --help lists what it takes"
            )  # fmt: skip
            raise UserError(f"unknown option {word!r}: {hint}")
        if word in (self._commands or ()):
            raise UserError(f"unexpected argument {word!r}: a command comes first, {PROGRAM} {word} ...")
        raise UserError(
            f"unexpected argument {word!r}: it belongs to no option; fields are given as --part.field VALUE, and "
            "text with blanks in quotes"
        )

    def _help_if_asked(self, arguments: Sequence[str]) -> None:
        for place, word in enumerate(arguments):
            option, _, what = word.partition("=")
            if option in ("-h", "--help", "--help-all"):
                following = arguments[place + 1] if place + 1 < len(arguments) else ""
                chosen = what or ("" if following.startswith("-") or not self._is_brief else following)
                sys.stdout.write(
                    self._help_on(chosen)
                    if chosen
                    else self.format_help()
                    if option != "--help-all"
                    else self.help_all()
                )
                sys.stdout.flush()
                raise SystemExit(0)

    def _help_on(self, chosen: str) -> str:
        """The fields of a part of the configuration, or one of them. Raises UserError when there is no such part."""
        found = [key for key in self._reads if key == chosen or key.startswith(f"{chosen}.")]
        if not found:
            near = difflib.get_close_matches(chosen, sections(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"the parts are {', '.join(sections())}"
            raise UserError(f"--help {chosen}: {self.prog} reads no such part of the configuration; {hint}")
        return self.fields_help(found)

    def help_all(self) -> str:
        """The help, and every field that is read."""
        title = (
            "\nfields of the configuration that it reads, each given as --part.field VALUE:\n" if self._reads else ""
        )
        return super().format_help() + title + self.fields_help(self._reads)

    def format_help(self) -> str:
        """The help: of the program itself the commands and the parts of the configuration, of a command the fields that
        it reads, or those in brief that matter most.
        """
        if self._brief:
            return f"{super().format_help()}\n{self._fields_in_brief()}"
        if self._commands is None:
            return self.help_all()
        commands = _listed(self._commands)
        parts = _listed(
            {
                part: sentence
                for part, sentence in sections().items()
                if any(key.startswith(f"{part}.") for key in self._reads)
            }
        )
        return (
            f"{super().format_help()}\ncommands ({PROGRAM} COMMAND --help has more):\n{commands}\n\n"
            f"parts of the configuration, whose fields are given as --part.field VALUE ({PROGRAM} --help PART lists "
            f"them):\n{parts}\n"
        )

    def _fields_in_brief(self) -> str:
        lines = ["fields of the configuration that matter most here, each given as --part.field VALUE:"]
        for field in map(described, self._brief):
            sentence = first_sentence(field.sentence)
            head = sentence.partition(";")[0]
            words = f"{sentence if ':' in head else head} (default: {self._default(field)})"
            lines.append(f"  --{field.key} {field.values}")
            lines += textwrap.wrap(words, _columns(), initial_indent=" " * 6, subsequent_indent=" " * 6)
        parts = dict.fromkeys(key.partition(".")[0] for key in self._reads)
        lines += ["", f"all that it reads: {self.prog} --help-all, or --help PART, of {', '.join(parts)}"]
        return "\n".join(lines) + "\n"

    def _default(self, field: Described) -> str:
        return self._defaults.get(field.key, field.default)

    def fields_help(self, chosen: Sequence[str]) -> str:
        """The fields by part, each with the values that it takes, its default and its sentence."""
        width = _columns()
        lines: list[str] = []
        written: set[str] = set()
        for part, sentence in sections().items():
            mine = [described(key) for key in chosen if key.startswith(f"{part}.")]
            if mine:
                lines += ["", *textwrap.wrap(f"{part}: {sentence}", width)]
            for field in mine:
                facts = "; ".join(word for word in (field.bounds, f"default: {self._default(field)}") if word)
                lines.append(f"  --{field.key} {field.values}")
                written.add(field.values)
                lines += textwrap.wrap(
                    f"{field.sentence} ({facts})", width, initial_indent=" " * 6, subsequent_indent=" " * 6
                )
        for word, meaning in self.words.items():
            if word in written:
                lines += ["", *textwrap.wrap(f"{word}: {meaning()}", width)]
        return "\n".join(lines) + "\n" if lines else ""


def choose(arguments: Sequence[str], commands: Mapping[str, str], usual: str) -> tuple[str, Sequence[str]]:
    """The command that the arguments begin with, `usual` where they begin with an option, and the arguments after it.

    Raises UserError when they begin with a word that is no command.
    """
    if not arguments or arguments[0].startswith(("-", *_DASHES)):
        return usual, arguments
    word = arguments[0]
    if word in commands:
        return word, arguments[1:]
    bare = word.partition("=")[0]
    near = difflib.get_close_matches(word.lower().replace("_", "-"), commands, n=1)
    hint = (
        f"did you mean {near[0]}?" if near
        else f"a field is written with two dashes, --{bare} VALUE" if bare in keys()
        else f"a configuration is given as --config {word}" if word.endswith((".yaml", ".yml"))
        else f"the commands are {', '.join(commands)}; {usual} needs no word"
    )  # fmt: skip
    raise UserError(f"there is no command {word!r}: {hint}")


def _listed(sentences: Mapping[str, str]) -> str:
    width = max(map(len, sentences)) + 4
    return "\n".join(
        textwrap.fill(sentence, _columns(), initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width)
        for name, sentence in sentences.items()
    )


def _columns() -> int:
    return max(40, min(_WIDEST, shutil.get_terminal_size().columns - 2))


def nearest_key(key: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown key: the right one that was meant, as far as can be told."""
    if key in REMOVED:
        return f": {REMOVED[key]}; leave it out"
    namesakes = [full for full in known if full.split(".")[1] == key.rpartition(".")[2]]
    longer = [full for full in known if full.startswith(key)]
    lower = key.lower().replace("-", "_")
    near = (
        difflib.get_close_matches(lower, known, n=1, cutoff=0.8)
        or namesakes
        or longer
        or difflib.get_close_matches(lower, known, n=1)
    )
    return f"; did you mean {near[0]}?" if near else f"; {PROGRAM} --help-all lists all keys"


def _refuse_odd_dashes(word: str) -> None:
    """Raises UserError for an option whose dashes were made typographic on the way here."""
    bare = word.lstrip("-" + _DASHES)
    if word[: len(word) - len(bare)].strip("-") and bare[:1].isalpha():
        raise UserError(f"{word!r} begins with a typographic dash, which is no '-': write --{bare}")

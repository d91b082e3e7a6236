"""The commands that the repository prints: in its documents, the headers of `conf/` and `--help`.

A command is what follows `python -m cast_exp...` or `cast-exp` on a line or in backticks. Behind
it, in brackets or in a comment, are alternatives: `(untrained: model=cast_small; ...)`. A line that
begins with `...` adds to the command above it.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product, takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("*.md", "docs/**/*.md", "results/*.md", "Makefile")
CONFIG = ("conf/**/*.yaml", "docs/examples/conf/**/*.yaml")
CODE = ("src/**/*.py", "notebooks/*.py", "benchmarks/*.py")
# Take overrides.
HYDRA = ("cast_exp.train", "cast_exp.eval", "cast_exp.cli.check", "cast_exp.cli.sweep")

_APP = "${hydra.help.app_name} "
_COMMAND = re.compile(
    r"(?:(?:python|torchrun\b[^`]*?) -m cast_exp\.(\w+)|(?:\bcast-exp ([a-z]+)))\b([^`]*)"
)
_ADDS = re.compile(r"(?:^|\s{2})\.\.\. (.+)")
_OVERRIDE = re.compile(r"[+~\w.@/-]+=\S+")
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(`+)([^`]+)\1")


@dataclass(frozen=True)
class Command:
    """A command as it is printed.

    Attributes:
        source: The file, below the root of the repository.
        module: What is run.
        words: Its arguments.
        note: What is said of an alternative; None for a command that is written out.
    """

    source: str
    module: str
    words: tuple[str, ...]
    note: str | None = None

    def __str__(self) -> str:
        name = self.module.removeprefix("cast_exp.")
        return " ".join([f"{self.source}:", name, *self.words])


def sources() -> list[Path]:
    """All files in which commands are looked for."""
    found = (ROOT.glob(pattern) for pattern in (*DOCUMENTS, *CONFIG, *CODE))
    return sorted({path for paths in found for path in paths})


def commands() -> list[Command]:
    """The commands of all sources, with their alternatives."""
    return [command for path in sources() for command in commands_in(path)]


def commands_in(path: Path) -> list[Command]:
    """The commands of a file, with their alternatives, in order."""
    source = path.relative_to(ROOT).as_posix()
    return [command for text in _texts(path) for command in _found(source, text)]


def merged(words: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a command, those for the same key replaced, and further ones.

    A model that is named takes the place of a checkpoint.
    """
    keys = {_key(word) for word in others if _OVERRIDE.fullmatch(word)}
    if "model" in keys and "checkpoint" not in keys:
        keys.add("checkpoint")
    return *(word for word in words if _key(word) not in keys), *others


def _key(word: str) -> str:
    return word.partition("=")[0]


def _texts(path: Path) -> list[str]:
    """What people read of a file, a command on each line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        nodes = ast.walk(ast.parse(text))
        constants = (node.value for node in nodes if isinstance(node, ast.Constant))
        comments = re.sub(r"^(?!# ).*$", "", text, flags=re.MULTILINE).replace("\n# ", "\n")
        return [_joined(part) for part in (*constants, comments) if isinstance(part, str)]
    if path.suffix == ".md":
        return [_joined(_FENCE.sub("", text)), *map(_continued, _FENCE.findall(text))]
    if path.suffix == ".yaml":
        text = text.replace(_APP, f"python -m cast_exp.{path.stem} ")
        return [_joined(re.sub(r"^ *(# *)?", "", text, flags=re.MULTILINE))]
    return [_continued(text.replace("$(BIN)/python", "python"))]


def _joined(text: str) -> str:
    """Prose, each span in backticks on one line."""
    return _SPAN.sub(lambda span: f"`{' '.join(span[2].split())}`", text)


def _continued(text: str) -> str:
    """Code, each command on one line."""
    return re.sub(r"\\\n\s*", " ", text)


def _found(source: str, text: str) -> Iterator[Command]:
    above: Command | None = None
    lines = iter(text.splitlines())
    for line in lines:
        found = [_command(source, *match) for match in _COMMAND.findall(line)]
        adds = _ADDS.search(line)
        if above and adds and not found:
            found = [_added(above, part) for part in adds[1].split("or just:")]
        for command, note in found:
            yield from _synopses(command)
            yield from _alternatives(command, note)
        if found:
            above = above if adds and above else found[0][0]
        elif above and source.startswith("conf") and line.startswith("("):
            while line.count("(") > line.count(")"):
                line += f" {next(lines).strip()}"
            yield from _alternatives(above, line.strip()[1:-1])
        elif above and line.lstrip().startswith("#"):
            yield from _alternatives(above, line)
        elif not line.strip() or not source.startswith("conf"):
            above = None


def _command(source: str, entry: str, name: str, rest: str) -> tuple[Command, str]:
    """A command and the comment behind it."""
    module = f"cast_exp.{entry}" if entry else f"cast_exp.cli.{name}"
    written, _, note = rest.partition(" #")
    written = re.sub(r"\[(--[^]]*)\]", r"\1", written)  # what may be left out
    words = tuple(shlex.split(written))
    if source.endswith(".py") and module in HYDRA:  # prose may follow
        words = tuple(takewhile(_OVERRIDE.fullmatch, words))
    if module in HYDRA:
        words = tuple("experiment=shapes_moco" if word == "..." else word for word in words)
    return Command(source, module, words), note


def _added(above: Command, text: str) -> tuple[Command, str]:
    words = tuple(shlex.split(text))
    own = words if words[0].startswith("resume=") and words != ("resume=auto",) else None
    return replace(above, words=own or merged(above.words, words), note=text), ""


def _synopses(command: Command) -> Iterator[Command]:
    """The commands that `list | info NAME` stands for."""
    words: list[str] = []
    note = command.note
    for word in (*command.words, "|"):
        if word != "|":
            words.append(word)
            continue
        yield replace(command, words=tuple(words), note=note)
        words, note = [], "or"


def _alternatives(command: Command, note: str) -> Iterator[Command]:
    for part in note.split(";"):
        words = (word.strip("`,.") for word in part.split())
        chosen = [word for word in words if _OVERRIDE.fullmatch(word)]
        for each in product(*(_either(word) for word in chosen)) if chosen else ():
            yield replace(command, words=merged(command.words, each), note=part.strip())


def _either(word: str) -> list[str]:
    key, _, values = word.partition("=")
    return [f"{key}={value}" for value in values.split("|")]

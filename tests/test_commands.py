"""Every command that the repository prints works: checked as before a run, and run in miniature."""

import argparse
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.cli import cast_eval, cast_train
from support.commands import ROOT, Command, commands, commands_in, sources
from support.miniature import miniature, reduced
from support.modules import forget
from support.placeholders import Things

from cast_exp.checkpoints.published import Published
from cast_exp.cli import check
from cast_exp.eval import evaluate_model
from cast_exp.run import jobs
from cast_exp.run.folder import run_folder, sweep_folder
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train

ENTRIES = {"cast_exp.train": ("train", train), "cast_exp.eval": ("eval", evaluate_model)}
ALL = commands()
LONG = ("results/", "conf/sweep/")  # whose commands are many runs each


def unlike(found: Sequence[Command]) -> list[Command]:
    """The first of those that are the same but for their file and the name of their data."""
    kept: dict[Any, Command] = {}
    for command in found:
        words = tuple(re.sub(r"(data\.root)=.*", r"\1", word) for word in command.words)
        kept.setdefault((command.module, words), command)
    return list(kept.values())


RUNS = unlike([command for command in ALL if command.module in ENTRIES and command.words])
MINIATURES = unlike(
    [
        replace(command, words=tuple(reduced(command.words)))
        for command in RUNS
        if "--help" not in command.words
    ]
)
OTHERS = unlike([command for command in ALL if command.module not in ENTRIES and command.words])


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Things:
    return Things(tmp_path_factory.mktemp("things"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory with the package and config files that docs/own_parts.md makes."""
    (tmp_path / "conf").symlink_to(ROOT / "docs" / "examples" / "conf")
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAST_EXP_RUNS", raising=False)
    yield
    forget("my_package")


# -- finding them ----------------------------------------------------------------------------------


def test_none_escapes() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    texts = [
        path
        for path in map(ROOT.joinpath, listed.stdout.split())
        if path.suffix in (".md", ".py", ".yaml", ".toml", ".sh", "") and path.is_file()
        if "tests" not in path.parts
    ]
    written = (
        r"(?:python|torchrun .*) -m(?:\s|#)+cast_exp\b(?!\.[${]| NAME)"
        r"|cast-exp [a-z]|hydra\.help\.app_name} "
    )
    expected = {path: len(re.findall(written, path.read_text())) for path in texts}
    found = {path: commands_in(path) if path in sources() else [] for path in texts}
    counts = {path: sum(c.note is None for c in there) for path, there in found.items()}
    assert counts == expected


def test_every_kind_of_source_has_some() -> None:
    counts = Counter(re.sub(r"[^/]+$", "", c.source) or c.source for c in ALL if c.words)
    places = ("README.md", "Makefile", "results/", "conf/", "conf/experiment/", "conf/sweep/")
    assert all(counts[place] for place in (*places, "conf/debug/", "src/cast_exp/")), counts


def test_what_is_said_of_a_command_is_an_alternative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.commands.ROOT", tmp_path / "tree")
    (tmp_path / "tree" / "conf").mkdir(parents=True)
    file = tmp_path / "tree/conf/train.yaml"
    file.write_text(
        "# Command:   python -m cast_exp.train experiment=a checkpoint=CKPT 'x.y=[1,2]'\n"
        "#            (DIR holds all; in minutes: b=[1,2] c=3; untrained:\n"
        "#            model=small|base)\n"
        "# Expected:  nothing=1.\n"
        "  header: |\n"
        "    two GPUs    ${hydra.help.app_name} d=1\n"
        "    in seconds  ... debug=fast   or just: resume=FOLDER\n"
    )
    assert [" ".join(command.words) for command in commands_in(file)] == [
        "experiment=a checkpoint=CKPT x.y=[1,2]",
        "experiment=a checkpoint=CKPT x.y=[1,2] b=[1,2] c=3",
        "experiment=a x.y=[1,2] model=small",
        "experiment=a x.y=[1,2] model=base",
        "d=1",
        "d=1 debug=fast",
        "resume=FOLDER",
    ]
    file = tmp_path / "tree/README.md"
    file.write_text(
        "As `python -m\ncast_exp.train ... a=1` does (b=1):\n```\n"
        "torchrun --nproc-per-node 2 -m cast_exp.train \\\n    c=1   # the control: d=1\n```\n"
    )
    assert [" ".join(command.words) for command in commands_in(file)] == [
        "experiment=shapes_moco a=1",
        "c=1",
        "c=1 d=1",
    ]


# -- checking them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command.source.startswith(LONG) else ())
        for command in RUNS
    ],
    ids=str,
)
def test_no_mistake_is_found_before_the_run(
    command: Command,
    things: Things,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "refusals", lambda *_, **__: [])  # of devices that are not here
    words = things.words(command)
    register_resolvers()
    run_folder.cache_clear()
    sweep_folder.cache_clear()
    capsys.readouterr()
    checked_command(words, *ENTRIES[command.module])
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("note: the checkpoint after")] == []


class Parsed(Exception):
    """The arguments are well."""


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_other_arguments_are_known(
    command: Command, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = things.words(command)
    if command.module == check.__name__:
        at = words.index("--config-dir") if "--config-dir" in words else len(words)
        check.composed([*words[:at], *words[at + 2 :]], *map(Path, words[at + 1 : at + 2]))
        return
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser, given: Sequence[str] | None = None) -> Any:
        raise Parsed(parse(parser, given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(Parsed):
        import_module(command.module).main(words)


@pytest.mark.parametrize("module", sorted({command.module for command in ALL}))
def test_every_module_that_is_named_is_there(module: str) -> None:
    assert find_spec(module)


# -- running them ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("command", MINIATURES, ids=str)
def test_a_run_in_miniature(command: Command, things: Things, image_text: Path) -> None:
    name, _ = ENTRIES[command.module]
    published = things.weights()
    if name == "eval" and "experiment=in1k_supervised" in command.words:  # with its classifier
        published = things.trained("imagenet")
    words = miniature(name, things.words(command), str(published))
    if "experiment=part_imagenet_open" in command.words:
        words.append(f"evaluation.open_vocabulary.model={image_text}")
    assert {"train": cast_train, "eval": cast_eval}[name](*words) == 0


SMALL_RUN = [
    *("data.dataset.train=32", "data.dataset.val=16", "data.batch_size=8", "data.workers=0"),
    *("trainer.max_epochs=1", "callbacks.pictures=null", "callbacks.progress=null"),
]
SMALLER = {
    "cast_exp.cli.check": ["data.expected_images=null"],
    "cast_exp.cli.cost": ["--models", "cast_tiny", "--sizes", "64"],
    "cast_exp.cli.sweep": [*SMALL_RUN, "--trials", "1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_another_command_runs(
    command: Command, things: Things, image_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*things.words(command), *SMALLER.get(command.module, ())]
    if "--classes" in words:
        words += ["--image-text", str(image_text)]
    if command.module == "cast_exp.cli.runs":
        Path("runs").symlink_to(things.run("shapes_moco").parents[1])
    if command.module == "cast_exp.cli.report":  # of a run that there is, and without waiting
        options = words[words.index("--out") :] if "--out" in words else []
        words = [str(things.run("shapes_moco")), *(word for word in options if word != "--watch")]
    if words[:1] == ["check"]:  # of published weights, which cannot be reached from here
        monkeypatch.setattr(Published, "fetch", lambda _: things.weights())
        words = ["check"]
    assert not import_module(command.module).main(words)

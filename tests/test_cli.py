"""`cosup` and `python -m cosup_jax`: help, names, and what a mistyped command line is told."""

import re
import sys
import types

import pytest

from cosup_jax import __version__, cli
from cosup_jax.config import ConfigError


@pytest.fixture
def command(monkeypatch):
    """A command `try` that does what the test wants."""
    module = types.ModuleType("cosup_jax.commands.try", "Tries.")
    module.add_arguments = lambda parser: parser.add_argument("--n", type=int, default=0)
    monkeypatch.setitem(cli.COMMANDS, "try", "tries")
    monkeypatch.setitem(sys.modules, "cosup_jax.commands.try", module)
    return module


def test_a_command_gets_its_arguments_and_the_overrides(command):
    seen = []
    command.run = lambda arguments: seen.append(arguments) or 0
    assert cli.main(["try", "--n", "3", "--config.seed=1"]) == 0
    assert (seen[0].n, seen[0].overrides) == (3, ["--config.seed=1"])


def test_the_value_of_a_field_may_be_a_word_of_its_own_and_negative(command):
    seen = []
    command.run = lambda arguments: seen.append(arguments) or 0
    assert cli.main(["try", "--config.clip", "-1", "--n", "3", "--config.data.train=a[:2]"]) == 0
    assert (seen[0].n, seen[0].overrides) == (3, ["--config.clip=-1", "--config.data.train=a[:2]"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--config.data.test", "--config.seed=3"], "expected --config.data.test=VALUE"),
        (["--config.data.test", "--n", "3"], "expected --config.data.test=VALUE"),
        (["--n", "3", "--config.init"], "expected --config.init=VALUE"),
        (["--config.data.size[0]=64"], "expected all of it, --config.data.size=VALUE"),
    ],
)
def test_a_field_without_a_value_or_a_part_of_one_is_refused(command, capsys, given, says):
    command.run = lambda arguments: pytest.fail("nothing is done")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["try", *given])
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_an_unknown_command_lists_those_there_are(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evalute"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in cli.COMMANDS)


@pytest.mark.parametrize("error", [ConfigError, FileNotFoundError])
def test_a_mistake_ends_in_one_sentence_and_status_1(command, capsys, error):
    def run(arguments):
        raise error("there is no field --config.sed")

    command.run = run
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == "python -m cosup_jax try: there is no field --config.sed\n"


def test_a_command_without_a_configuration_refuses_overrides(command, capsys):
    command.add_arguments = lambda parser: parser.set_defaults(overrides=None)
    with pytest.raises(SystemExit):
        cli.main(["try", "--config.seed=1"])
    assert "reads no configuration" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    assert f"python -m cosup_jax {name}" in capsys.readouterr().out


def told(capsys, *given, program="cosup"):
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(given), program)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = told(capsys, "--help")
    assert len(said.splitlines()) <= 24
    assert max(map(len, said.splitlines())) <= 80
    assert said.startswith("usage: cosup [-h] [--version] COMMAND")
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in cli.COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    assert told(capsys, "--version") == f"cosup-jax {__version__}\n"


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_options_are_spelled_with_dashes(name, capsys):
    said = told(capsys, name, "--help")
    assert not re.findall(r"(?<![\w.-])--[a-z]+_[a-z_]+", said.replace("--config.", "config."))


@pytest.mark.parametrize("option", ["--two-words", "--two_words"])
def test_the_older_spelling_of_an_option_is_understood(command, option):
    seen = []
    command.add_arguments = lambda parser: parser.add_argument("--two-words")
    command.run = lambda arguments: seen.append(arguments.two_words) or 0
    assert cli.main(["try", f"{option}=a_b"]) == cli.main(["try", option, "__c"]) == 0
    assert seen == ["a_b", "__c"]


def test_the_older_spelling_of_a_command_is_understood(capsys):
    assert "usage: cosup export-weights" in told(capsys, "export_weights", "--help")


def test_weights_that_come_with_the_package_are_listed(capsys):
    assert cli.main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    assert "c2f-small: CoSupNet, slices of 256 × 192, infection above 0.84, SHA" in said
    assert (
        "c2f-base: CoSupNet, slices of 352 × 256, infection above 0.66 in parts that reach 0.95"
        in said
    )
    assert said.count("taken by default") == 1


def test_data_is_the_command_of_the_builders(tmp_path, capsys):
    where = ["--config=tiny", f"--data-dir={tmp_path}"]
    assert cli.main(["data", "build", "lung_phantom", *where]) == 0
    assert "train              3         3      12        12" in capsys.readouterr().out
    missing = f"--manual_dir={tmp_path / 'no'}"
    assert cli.main(["data", "show", "slice_folder", *where[1:], missing], "cosup") == 1
    assert capsys.readouterr().err.startswith("cosup data: ")


NO_PATHS = {
    "a\0b": "holds a NUL character; give another",
    "n" * 300: "holds a name of 300 bytes, where a file's has at most 255; give another",
    "x/é" * 1500: "is a path of over 4,095 bytes; give another",
}
WITH_PATHS = {
    "predict INPUT --out=PATH": "--out",
    "train c2f --workdir PATH": "--workdir",
    "train PATH": "an argument",
    "train c2f --config.data.source=PATH": "--config.data.source",
    "evaluate --predictions a --truth PATH": "--truth",
    "compare one=a two=b,PATH": "an argument",
    "compare --scans PATH b": "--scans",
    "convert PATH --config c2f --workdir a": "an argument",
    "data show lung_phantom --config=scans=PATH": "--config",
}


@pytest.mark.parametrize("path", NO_PATHS)
@pytest.mark.parametrize("line", WITH_PATHS)
def test_what_can_be_no_path_is_refused_by_its_option(line, path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([word.replace("PATH", path) for word in line.split()])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f" error: {WITH_PATHS[line]}: '" in said
    assert said.endswith(NO_PATHS[path])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["c2"], "no configuration 'c2' (did you mean 'c2f'?); there are ablation, "),
        (["no/where.py"], "no configuration file 'no/where.py'"),
        (["c2f", "--config.epoch=3"], "nearest is --config.epochs"),
        (["c2f", "--config.epochs=x"], "--config.epochs=x: expected a value like 300"),
        (["c2f", "--seeds=0"], "--seeds=0: expected at least 1"),
        (["semi_c2f", "--seeds=2"], "--seeds trains labelled slices only"),
        (["semi_c2f", "--seeds=2", "--dry-run"], "--seeds trains labelled slices only"),
        (["semi_c2f", "--distributed", "--dry-run"], "--distributed trains labelled slices only"),
    ],
)
def test_a_wrong_training_is_answered_before_it_begins(given, says, capsys):
    assert cli.main(["train", *given]) == 1
    assert says in capsys.readouterr().err

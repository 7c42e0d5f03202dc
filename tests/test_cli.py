"""`python -m cosup_jax`: what a mistyped command line is told."""

import sys
import types

import pytest

from cosup_jax import cli
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

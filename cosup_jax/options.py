"""One way to spell options: words joined by dashes. Underscores are read as dashes."""

from collections.abc import Sequence


def spelled(name: str) -> str:
    """Returns a name of words as the command line spells it.

    >>> spelled("train_source")
    'train-source'
    """
    return name.replace("_", "-")


def dashed(arguments: Sequence[str], keep: str = "--config.") -> list[str]:
    """Returns a command line with the names of its options spelled with dashes.

    Args:
      arguments: without the program's name.
      keep: what the names of fields begin with, which are spelled as they are.

    >>> dashed(["--train_source=a_b", "x_y", "--config.batch_size=4", "--", "--a_b"])
    ['--train-source=a_b', 'x_y', '--config.batch_size=4', '--', '--a_b']
    """
    found: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and not name.startswith(keep) and "--" not in found:
            name = spelled(name)
        found.append(f"{name}{equals}{value}")
    return found

"""What several processes must have in common before the first step, compared; see `hosts`."""

import time
from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import hosts, runs
from cosup_jax.data import datasets
from cosup_jax.runs import logs
from cosup_jax.training.setup import FREE_FIELDS, Setup

_SEEN_S = 60  # until a file that one host has written is seen by the others


def check_program(config: ConfigDict) -> None:
    """Refuses processes with another version of a package, or configuration.

    Raises:
      HostsError: naming the process and what differs.
    """
    if hosts.count() == 1:
        return
    found = logs.versions(())
    hosts.compare("version", {name: v for name, v in found.items() if name != "devices"})
    mine = configuration.to_json(config)
    differing = configuration.differences(hosts.tell(mine), mine)
    # Where data lie may differ from host to host; what they hold is compared by itself.
    places = {name for name in FREE_FIELDS if name.startswith("data.")}
    told = hosts.gather([name for name in differing if name not in places])
    for process, names in enumerate(told):
        if names:
            raise hosts.HostsError(
                f"{hosts.name_of(process)} has another configuration than {hosts.name_of(0)}: "
                f"{', '.join(names)}; start all with the same"
            )


def check_data(setup: Setup) -> None:
    """Refuses processes whose splits hold other records.

    Raises:
      HostsError: naming the process and the split.
    """
    if hosts.count() == 1:
        return
    data = setup.config.data
    splits = {data.train, data.validation}
    hosts.compare(
        "content of the split",
        {name: datasets.fingerprint(setup.builder, [name]) for name in sorted(splits)},
    )


def check_folder(workdir: Path) -> None:
    """Refuses processes that do not see what the first has written into the run's folder.

    Raises:
      HostsError: it is not the same folder.
    """
    if hosts.count() == 1:
        return
    path = workdir / runs.CONFIG
    written = hosts.tell(path.read_text() if hosts.is_first() else None)
    until = time.monotonic() + _SEEN_S
    while not (seen := path.is_file() and path.read_text() == written):
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    for process, sees in enumerate(hosts.gather(seen)):
        if not sees:
            raise hosts.HostsError(
                f"{hosts.name_of(process)} does not find {path} as {hosts.name_of(0)} has written "
                "it; give a --workdir that all hosts share"
            )

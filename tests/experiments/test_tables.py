"""The tables as data, and the papers' values."""

import csv
import re

import pytest

from cosup_jax import config as configuration
from cosup_jax.data import datasets
from cosup_jax.experiments import published
from cosup_jax.experiments.tables import TABLES
from tests.phantoms import CONFIGS

ROWS = [(name, row) for name, table in TABLES.items() for row in table.rows]


@pytest.mark.parametrize(
    ("paper", "table", "method", "measure", "value"),
    [
        ("cosup", "2", "ResUNet_C2F", "dice", (89.93, 0.09)),
        ("cosup", "3", "ResUNet_C5F", "s_alpha", (85.29, 1.58)),
        ("cosup", "4", "baseline", "dice", (85.96, 0.03)),
        ("cosup", "4", "esm+esm*+afm (from the prose)", "dice", (86.95, 0.37)),
        ("cosup", "4", "esm+afm (from the prose)", "dice", (88.33, 0.89)),
        ("cosup", "4", "assm+afm (from the prose)", "dice", (88.70, 0.25)),
        ("cosup", "4", "esm*+assm*+afm (from the prose)", "dice", (88.86, 0.31)),
        ("cosup", "5", "Add", "mae", (0.85, 0.13)),
        ("cosup", "6", "U-Net", "sensitivity", (64.32, 19.197)),
        ("infnet", "II", "Semi-Inf-Net", "dice", (73.9, None)),
        ("infnet", "IV", "Backbone+RA", "e_phi_mean", (73.6, None)),
    ],
)
def test_published_values(paper, table, method, measure, value):
    (row,) = [row for row in published.rows(paper, table) if row.method == method]
    assert row.values[measure] == value


def test_rows_of_one_name_stay_apart():
    rows = published.rows("cosup", "4")
    assert len(rows) == 17
    decoder = [r.values["dice"][0] for r in rows if r.method == "not identified (decoder)"]
    assert decoder == [87.17, 86.47, 87.31, 87.99]
    names = {row.name for row in published.rows("infnet", "III")}
    assert len(names) == 8
    assert {"FCN8s, ground-glass", "FCN8s, consolidation"} < names


def test_an_unknown_table_is_named():
    with pytest.raises(KeyError, match="'9' of 'cosup'"):
        published.rows("cosup", "9")


@pytest.mark.parametrize("name", TABLES)
def test_names_agree_with_the_paper_and_with_each_other(name):
    table = TABLES[name]
    methods = [row.name for row in published.rows(table.paper, table.number)]
    claimed = [row.published for row in table.rows if row.published]
    assert [methods.count(method) for method in claimed] == [1] * len(claimed)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    assert table.reference in {*names, ""}
    assert {of for row in table.rows for of in (row.runs_of, row.base)} <= {*names, ""}
    assert datasets.make_builder(table.data).name == table.data


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{n}-{r.name}" for n, r in ROWS])
def test_every_row_has_a_configuration(name, row):
    path, _, argument = row.config.partition(":")
    config = configuration.load(f"{CONFIGS / path}:{argument}")
    assert config.data.size[0] % 32 == 0


def test_rows_of_one_name_are_one_experiment():
    configs = {}
    for _, row in ROWS:  # also the configurations of runs that two rows score
        path, _, argument = row.config.partition(":")
        config = configuration.to_json(configuration.load(f"{CONFIGS / path}:{argument}"))
        assert configs.setdefault(row.runs_of or row.name, config) == config, row.name


def test_every_configuration_of_the_papers_tables_says_its_dice():
    """The values that the configurations' docstrings name are those of published.csv."""
    files = {"c1f.py", "c2f.py", "c3f.py", "c4f.py", "c5f.py"}
    for row in TABLES["table3"].rows:
        if row.config in files:
            text = (CONFIGS / row.config).read_text()
            (named,) = re.findall(r"([\d.]+) Dice on the paper's own dataset", text)
            (found,) = [r for r in published.rows("cosup", "3") if r.method == row.published]
            assert float(named) == found.values["dice"][0]


def test_all_published_rows_stand_in_a_table():
    path = CONFIGS.parent / "cosup_jax" / "experiments" / "published.csv"
    with path.open(newline="") as file:
        printed = {(row["paper"], row["table"]) for row in csv.DictReader(file)}
    assert printed == {(table.paper, table.number) for table in TABLES.values()}


@pytest.mark.parametrize("name", ["table2", "table6", "table7", "table8", "infnet-table3"])
def test_no_published_row_is_left_out(name):
    table = TABLES[name]
    claimed = {row.published for row in table.rows}
    assert {row.name for row in published.rows(table.paper, table.number)} <= claimed

"""The written table: what it says, and that each format is well formed."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax.experiments import caption, formats, plan, runner
from cosup_jax.experiments.results import RowResult
from cosup_jax.experiments.tables import TABLES


def pending(request):
    return [RowResult(row, pending=runner.PENDING) for row in request.definition.rows]


def test_latex_specials_are_escaped():
    text = formats.escape_latex(r"a&b %5 $x #1 y_z {q} ~ ^ \end <i> --data esm*")
    assert text == (
        r"a\&b \%5 \$x \#1 y\_z \{q\} \textasciitilde{} \textasciicircum{} \textbackslash{}end "
        r"\textless{}i\textgreater{} -{}-data esm*"
    )


@given(st.text('ab\\{}%&$#_^~-<>|"±×–σ…≥ ', max_size=30))
def test_escaped_text_holds_nothing_that_latex_would_act_on(text):
    escaped = formats.escape_latex(text)
    bare = re.sub(r"\\[&%$#_{}]", "", escaped)  # escaped characters
    bare = re.sub(r"\$\\(pm|times|sigma|geq)\$", "", bare)
    bare = re.sub(r"\\(text\w+|dots)\{\}|-\{\}(?=-)", "", bare)
    assert not set(bare) & set("\\{}%&$#_^~")
    assert "--" not in escaped


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_written_before_anything_is_run(make_request, name):
    request = make_request(name)
    document = caption.document(request, pending(request))
    paths = formats.write(request, pending(request), document)
    latex = formats.latex(document)
    assert latex.isascii()
    columns = re.findall(r"^.* \\\\$", latex, re.MULTILINE)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in columns} == {len(document.header) - 1}
    markdown = [line for line in formats.markdown(document).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in markdown} == {len(document.header) + 1}
    assert sorted(path.suffix for path in paths) == [".csv", ".md", ".tex"]
    assert document.head == "Nothing has been run yet"
    # Nothing is left out: each row of ours, and each of the paper's.
    assert sum(line[1] == caption.HERE for line in document.lines) == len(request.definition.rows)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("table2", "CE-Net .*\n.*92.00 ± 0.10.* suspect as printed"),
        ("table4", r"not identified \(decoder\) .*87.99 ± 0.36.* check marks are lost"),
        ("table4", r"88.33 ± 0.89.* in all digits the value of ResUNet\\_C5F in Table 3"),
        ("semiseg", "Semi-Inf-Net .*73.90.* published value, not run in this table"),
        ("table6", "does not say whether these networks were trained on this dataset"),
    ],
)
def test_what_is_not_run_says_why(make_request, name, said):
    request = make_request(name)
    assert re.search(said, formats.markdown(caption.document(request, pending(request))))


def test_the_place_on_a_page_is_made_once_and_filled_again(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nIntroduction.\n")
    formats.put_on_page(page, "a", "first")
    formats.put_on_page(page, "b", "other")
    page.write_text(page.read_text() + "\nReading.\n")
    formats.put_on_page(page, "a", "second \\1")
    text = page.read_text()
    places = [text.index(w) for w in ("Introduction.", "second \\1", "other", "Reading.")]
    assert places == sorted(places)
    assert "first" not in text
    formats.put_on_page(page, "a", "second \\1")
    assert page.read_text() == text


@pytest.mark.parametrize("lost", ["<!-- end of a -->", "<!-- a: made by the command below -->"])
def test_half_a_place_is_refused(tmp_path, lost):
    page = tmp_path / "results.md"
    formats.put_on_page(page, "a", "first")
    page.write_text(page.read_text().replace(lost, ""))
    with pytest.raises(ValueError, match="or neither"):
        formats.put_on_page(page, "a", "second")


def test_the_command_can_be_given_again(make_request):
    request = make_request(
        "table6",
        data="mosmed_covid19",
        source="/home/someone/mosmed",
        train_on="cosup_covid",
        train_source="/home/someone/cosup",
        selected=("unet", "c2f"),
        overrides=("--config.data.size=(96, 96)", "--config.data.data_dir=/home/someone/tfds"),
    )
    assert caption.command(request) == (
        "python -m cosup_jax experiment table6 --data mosmed_covid19 --source FOLDER "
        "--train-on cosup_covid --train-source TRAINING_FOLDER --seeds 2 --rows unet,c2f "
        "--out RUNS '--config.data.size=(96, 96)'"
    )
    assert "someone" not in "".join(caption.caption(request, pending(request)))
    usual = dataclasses.replace(request, out=plan.usual_folder("mosmed_covid19"))
    assert "--out" not in caption.command(usual)
    every = dataclasses.replace(request, selected=tuple(r.name for r in request.definition.rows))
    assert "--rows" not in caption.command(every)

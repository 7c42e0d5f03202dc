"""The papers' tables run again: what is in them, what is trained for them, how they are written.

`tables.py` holds the tables as data and `published.py` the papers' own values. `plan.py` turns a
table into runs, `progress.py` says how far each is, `runner.py` trains and evaluates them,
`results.py` takes the seeds of a row together, `caption.py` says what the numbers are, and
`formats.py` writes Markdown, CSV and LaTeX.
"""

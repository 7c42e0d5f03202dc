"""The report of one scan: a single HTML file with a slice viewer, which any browser opens."""

from cosup_jax.report.write import write_page

__all__ = ["write_page"]

"""Does Co-Prop help a model, and which of its parts does: any backend, bare and part by part.

`plug_and_play` scores models on clips with truth, row by row of a table; a `Report` prints the
table and saves it.
"""

from coprop_plugin.benchmark.plug_and_play.bench_report import Report
from coprop_plugin.benchmark.plug_and_play.rows import Row, default_rows
from coprop_plugin.benchmark.plug_and_play.run_rows import plug_and_play

__all__ = ["Report", "Row", "default_rows", "plug_and_play"]

"""Benchmark of any backend, bare and with each part of Co-Prop.

`plug_and_play` scores models on clips with truth, row by row of a table; the `Report` that it
returns prints and saves the table.
"""

from coprop_plugin.benchmark.plug_and_play.bench_report import Report, versions
from coprop_plugin.benchmark.plug_and_play.cost import Cost, measured
from coprop_plugin.benchmark.plug_and_play.fingerprints import fingerprint
from coprop_plugin.benchmark.plug_and_play.lost_scores import losses
from coprop_plugin.benchmark.plug_and_play.rows import (
    Row,
    WithoutAudio,
    default_rows,
    without_audio,
)
from coprop_plugin.benchmark.plug_and_play.run_rows import BenchLimits, plug_and_play
from coprop_plugin.benchmark.plug_and_play.shared_keyframes import SharedKeyframes, TrueKeyframes
from coprop_plugin.benchmark.plug_and_play.wrong_keyframes import WrongKeyframes

__all__ = [
    "BenchLimits",
    "Cost",
    "Report",
    "Row",
    "SharedKeyframes",
    "TrueKeyframes",
    "WithoutAudio",
    "WrongKeyframes",
    "default_rows",
    "fingerprint",
    "losses",
    "measured",
    "plug_and_play",
    "versions",
    "without_audio",
]

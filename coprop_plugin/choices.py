"""The options of the library that the command line has, too; importing it imports nothing heavy."""

from typing import Literal

DEFAULT_POINTS = "change_detector"
"""The control-point provider where none is named and the model has none of its own."""

Sampling = Literal["pts", "avsbench"]
"""What a frame stands for: the time from its time stamp to the next, or a second of AVSBench."""

AnnotationFormat = Literal["audacity", "textgrid", "rttm", "csv", "json"]
"""The kinds of files of annotations; see `media.read_annotations`."""

Engine = Literal["processes", "ray"]
"""Where workers run: in processes of this machine, or as actors of Ray Data."""

TableName = Literal[
    "table1",
    "table2a",
    "table2b",
    "table3",
    "table4",
    "table5",
    "table6",
    "figure3",
    "figure4",
]
"""Tables and figures with numbers of the paper."""

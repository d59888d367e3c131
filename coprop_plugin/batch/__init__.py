"""Many videos: one after the other, side by side in processes, or all over a cluster."""

from coprop_plugin.batch.inputs import Shard, find_inputs, fingerprint, located, names_of
from coprop_plugin.batch.load import make_model
from coprop_plugin.batch.manifest import Manifest
from coprop_plugin.batch.one_file import Job, Options
from coprop_plugin.batch.outcome import Outcome, one_line
from coprop_plugin.batch.reuse import Reuse, redo_file
from coprop_plugin.batch.run_many import anchor_many, run_many

__all__ = [
    "Job",
    "Manifest",
    "Options",
    "Outcome",
    "Reuse",
    "Shard",
    "anchor_many",
    "find_inputs",
    "fingerprint",
    "located",
    "make_model",
    "names_of",
    "one_line",
    "redo_file",
    "run_many",
]

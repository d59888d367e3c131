"""Running on many videos: one after the other, in several processes, or on a Ray cluster."""

from coprop_plugin.batch.anchor_many import anchor_into, anchor_many
from coprop_plugin.batch.annotation_server import AnnotationServer
from coprop_plugin.batch.chosen_backend import chosen_backend
from coprop_plugin.batch.inputs import (
    Shard,
    find_inputs,
    fingerprint,
    located,
    names_of,
    tracks_for,
    video_items,
)
from coprop_plugin.batch.language_models import load_any_provider, load_llm
from coprop_plugin.batch.load import (
    DEFAULT_BACKEND,
    load_backend,
    load_propagator,
    load_provider,
    make_model,
)
from coprop_plugin.batch.manifest import Manifest
from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome, Status, failure
from coprop_plugin.batch.points_file import PointsFile
from coprop_plugin.batch.reuse import Reuse, redo_file
from coprop_plugin.batch.run_many import Engine, run_many

__all__ = [
    "AnnotationServer",
    "DEFAULT_BACKEND",
    "Engine",
    "Job",
    "Manifest",
    "Options",
    "Outcome",
    "PointsFile",
    "Reuse",
    "Shard",
    "Status",
    "anchor_into",
    "anchor_many",
    "chosen_backend",
    "do_job",
    "failure",
    "find_inputs",
    "fingerprint",
    "load_any_provider",
    "load_backend",
    "load_llm",
    "load_propagator",
    "load_provider",
    "located",
    "make_model",
    "names_of",
    "redo_file",
    "run_many",
    "tracks_for",
    "video_items",
]

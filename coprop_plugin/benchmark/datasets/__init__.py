"""AVSBench's data sets, and subsets of clips and frames that change; all are torch data sets.

An mmengine config builds one, too: `dict(type="coprop_plugin.MS3", root=..., split="train")`.
"""

from coprop_plugin.benchmark.datasets.aviseg import AVISeg
from coprop_plugin.benchmark.datasets.avsbench import MS3, S4
from coprop_plugin.benchmark.datasets.avss import AVSS
from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.class_labels import ClassLabels, Twin
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.keyframe_dataset import (
    KeyframeDataset,
    Keyframes,
    Segments,
    keyframes_of,
    segments_of,
)
from coprop_plugin.benchmark.datasets.listing import read_ids, write_ids
from coprop_plugin.benchmark.datasets.log_mel_file import read_log_mel
from coprop_plugin.benchmark.datasets.open import dataset_items, is_dataset, open_folder
from coprop_plugin.benchmark.datasets.read_pictures import binary_mask, colour_labels, index_labels
from coprop_plugin.benchmark.datasets.sample import Sample, Samples
from coprop_plugin.benchmark.datasets.subsets import MOC, Statistics, select_changing
from coprop_plugin.benchmark.datasets.words_file import read_words

__all__ = [
    "AVSS",
    "AVISeg",
    "MOC",
    "MS3",
    "S4",
    "AVSDataset",
    "ClassLabels",
    "KeyframeDataset",
    "Keyframes",
    "Sample",
    "Samples",
    "Segments",
    "Statistics",
    "Truth",
    "Twin",
    "binary_mask",
    "colour_labels",
    "dataset_items",
    "index_labels",
    "is_dataset",
    "keyframes_of",
    "open_folder",
    "read_ids",
    "read_log_mel",
    "read_words",
    "segments_of",
    "select_changing",
    "write_ids",
]

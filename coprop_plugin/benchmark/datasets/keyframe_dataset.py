"""Parts of clips to train on: keyframes (section 3.3), and the segments between them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.sample import Sample
from coprop_plugin.control_points.file_provider import FileProvider
from coprop_plugin.errors import DatasetError
from coprop_plugin.pipeline.audio_items import AudioItem
from coprop_plugin.registry import DATASETS, PROVIDERS, build
from coprop_plugin.types import ControlPointProvider, ControlPoints

ORACLE = "oracle"
"""The true control points, as in the rows of `coprop bench`."""


class ClipParts(Dataset[Sample]):
    """Runs of frames of a data set's clips, one `Sample` each.

    Args:
        dataset: The data set with the clips.
        parts: Pairs (index of the clip, its frames).
    """

    def __init__(self, dataset: AVSDataset, parts: Sequence[tuple[int, range]]) -> None:
        if not parts:
            raise DatasetError(
                f"No part of the {len(dataset)} clips of {dataset.root} has a label. Use other "
                "control points, or another split."
            )
        self.dataset = dataset
        self.parts = tuple(parts)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The data set's `metainfo`."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Sample:
        """Read one part; it has the audio of the whole clip."""
        clip_index, frames = self.parts[index]
        return self.dataset[clip_index].at(frames)


class KeyframeDataset(ClipParts):
    """Single frames of a data set, one `Sample` of one frame each; see `keyframes_of`.

    Args:
        dataset: The data set with the clips.
        frames: Pairs (index of the clip, frame in the clip).
    """

    def __init__(self, dataset: AVSDataset, frames: Sequence[tuple[int, int]]) -> None:
        super().__init__(dataset, [(index, range(t, t + 1)) for index, t in frames])
        self.frames = tuple(frames)


def points_of(
    dataset: AVSDataset, index: int, truth: Truth, provider: ControlPointProvider | None
) -> ControlPoints:
    """Return the control points of a clip: a provider's, or the true ones.

    Where not every frame is labelled and there is no provider, the clip is one segment.

    Raises:
        CopropError: If the audio cannot be read, or as the provider.
    """
    if provider is not None:
        row = dataset.rows[index]
        item = AudioItem(row.id, dataset.wav_file(row), num_frames=len(truth.labelled))
        return provider.propose(item.clip())
    known = truth.control_points
    return ControlPoints.from_indices([0], len(truth.labelled)) if known is None else known


def keyframes_of(
    dataset: AVSDataset, provider: ControlPointProvider | None = None
) -> KeyframeDataset:
    """Collect the keyframes of a data set, to fine-tune a keyframe processor on (section 3.3).

    A keyframe is the first frame of a segment. The paper finds them with its control-point
    generator; by default they are taken from the truth, which is how it annotates them (appendix
    A.1). Frames without a label are left out.

    Args:
        dataset: The data set; only labels are read, and for a provider the audio.
        provider: Finds the control points, instead of the truth.

    Returns:
        The keyframes, in the order of the data set.

    Raises:
        DatasetError: If a file is missing or unusable, or no keyframe has a label.

    Example:
        >>> keyframes = keyframes_of(MS3("Multi-sources", "train"))  # doctest: +SKIP
        >>> keyframes[0].num_frames  # doctest: +SKIP
        1
    """
    frames: list[tuple[int, int]] = []
    for index in range(len(dataset)):
        truth = dataset.truth(index)
        indices = points_of(dataset, index, truth, provider).indices
        frames += [(index, t) for t in indices if bool(truth.labelled[t])]
    return KeyframeDataset(dataset, frames)


def segments_of(
    dataset: AVSDataset, provider: ControlPointProvider | None = None, min_frames: int = 2
) -> ClipParts:
    """Collect the segments of a data set, to train the propagator on (section 3.4).

    Masks are the class labels where they are known, so that an object that is absent from the
    first frame of a segment can be told from those in it. Segments without a sounding object in
    their first labelled frame are left out. Clips of which one frame is labelled are one segment.

    Args:
        dataset: The data set; only labels are read, and for a provider the audio.
        provider: Finds the control points, instead of the truth.
        min_frames: Shorter segments are left out: nothing is propagated in a single frame.

    Returns:
        The segments, in the order of the data set.

    Raises:
        DatasetError: If a file is missing or unusable, or no segment is left.

    Example:
        >>> segments_of(MS3("Multi-sources", "train", avss_root="AVSS"))  # doctest: +SKIP
    """
    parts = []
    for index in range(len(dataset)):
        truth = dataset.truth(index)
        points = points_of(dataset, index, truth, provider)
        whole = [range(points.num_frames)]
        for frames in points.segments if bool(truth.labelled.all()) else whole:
            known = [t for t in frames if bool(truth.labelled[t])]
            if len(frames) >= min_frames and known and bool(truth.masks[known[0]].any()):
                parts.append((index, frames))
    return _Segments(dataset, parts)


class _Segments(ClipParts):
    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return sample if sample.labels is None else replace(sample, masks=sample.labels)


Provider = str | dict[str, Any] | None
"""Control points of a config: "oracle" or None for the true ones, a file of them, or the name or
config of a provider."""


@DATASETS.register_module()
class Keyframes(KeyframeDataset):
    """`keyframes_of` for configs: the keyframes of a data set that is built from a config.

    Args:
        dataset: Config of the data set, e.g. `dict(type="MS3", root=...)`.
        provider: `"oracle"`: the true control points, also for None; a file of them, e.g.
            `"points.json"` of `coprop anchor DATASET -o points.json`; or the name or the config of
            a provider.

    Raises:
        DatasetError: As `keyframes_of`; or if the file of control points does not exist.

    Example:
        >>> config = dict(type="Keyframes", dataset=dict(type="MS3", root="..."))
        >>> DATASETS.build(config)  # doctest: +SKIP
    """

    def __init__(self, dataset: dict[str, Any], provider: Provider = None) -> None:
        found = keyframes_of(build(DATASETS, dataset, "masks"), _provider(provider))
        super().__init__(found.dataset, found.frames)


@DATASETS.register_module()
class Segments(_Segments):
    """`segments_of` for configs: the segments of a data set that is built from a config.

    Args:
        dataset: As in `Keyframes`.
        provider: As in `Keyframes`.
        min_frames: As in `segments_of`.

    Raises:
        DatasetError: As `segments_of`; or if the file of control points does not exist.

    Example:
        >>> config = dict(type="Segments", dataset=dict(type="MS3", root="..."))
        >>> DATASETS.build(config)  # doctest: +SKIP
    """

    def __init__(
        self, dataset: dict[str, Any], provider: Provider = None, min_frames: int = 2
    ) -> None:
        found = segments_of(build(DATASETS, dataset, "masks"), _provider(provider), min_frames)
        super().__init__(found.dataset, found.parts)


def _provider(given: Provider) -> ControlPointProvider | None:
    if given is None or given == ORACLE:
        return None
    if isinstance(given, str) and Path(given).suffix:
        if not Path(given).is_file():
            raise DatasetError(
                f"There is no file {given} of control points. Make it with `coprop anchor DATASET "
                f"-o {given}`, or use provider='oracle' for the true ones."
            )
        return FileProvider(given)
    return build(PROVIDERS, given, "propose")

"""Subsets of data sets: MOC, the clips that change, and the keyframes to fine-tune on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from coprop_plugin.benchmark.datasets.avsbench import MS3
from coprop_plugin.benchmark.datasets.avss import AVSS
from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.listing import read_rows
from coprop_plugin.benchmark.datasets.sample import Sample
from coprop_plugin.control_points.providers import from_masks
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS, PROVIDERS, build
from coprop_plugin.types import ControlPointProvider


def select_changing(dataset: AVSDataset, labels_from: AVSS | None = None) -> list[str]:
    """Find the clips in which the set of sounding objects changes, as in MOC (Table 3).

    The paper uses 17 of MS3's 64 test clips in which the sounding objects change, and does not
    list them. MS3's own masks tell only when anything sounds: a change from dog to girl is
    invisible in them. AVSS has the same clips with classes.

    Args:
        dataset: The clips to choose from.
        labels_from: AVSS, for the labels of MS3's clips (subset v1m), see `twins`. By default the
            clips' own masks decide.

    Returns:
        Ids of `dataset`, in its order; may be empty. `write_ids` writes them to a file.

    Raises:
        DatasetError: If a mask cannot be read, or a clip has no twin in `labels_from`.

    Example:
        >>> ids = select_changing(MS3("Multi-sources", "test"), AVSS("AVSS"))  # doctest: +SKIP
        >>> write_ids("moc_test.txt", ids)  # doctest: +SKIP
    """
    if labels_from is None:
        return [name for i, name in enumerate(dataset.ids) if _changes(dataset, i)]
    pairs = twins(dataset.ids, labels_from)
    place = {uid: i for i, uid in enumerate(labels_from.ids)}
    return [name for name in dataset.ids if _changes(labels_from, place[pairs[name]])]


def _changes(dataset: AVSDataset, index: int) -> bool:
    masks, labelled = dataset.masks(index)
    return bool(labelled.any()) and len(from_masks(masks[labelled])) > 1


def twins(ids: Sequence[str], avss: AVSS) -> dict[str, str]:
    """Find MS3's clips in AVSS.

    A clip's twin has its id as `uid`; or as `vid`, if only one clip has.

    Args:
        ids: Ids of MS3's clips.
        avss: AVSS with every split (`split=None`) and subset that may hold them.

    Returns:
        A mapping from id to `uid`.

    Raises:
        DatasetError: If a clip has no twin, or more than one.
    """
    known = set(avss.ids)
    by_vid: dict[str, list[str]] = {}
    rows = read_rows(avss.path, ("vid",), avss.id_column)
    for row in rows:
        if row.id in known:
            by_vid.setdefault(row.values["vid"], []).append(row.id)
    found = {name: [name] if name in known else by_vid.get(name, []) for name in ids}
    wrong = [name for name, uids in found.items() if len(uids) != 1]
    if wrong:
        raise DatasetError(
            f"{len(wrong)} of {len(ids)} clips have no single twin in {avss.root}: "
            f"{', '.join(map(repr, wrong[:8]))}. Open AVSS with split=None and subsets=['v1m'], or "
            "select by the clips' own masks."
        )
    return {name: uids[0] for name, uids in found.items()}


@DATASETS.register_module()
class MOC(MS3):
    """Multiple-sound Source Conversion: MS3's clips whose sounding objects change (Table 3).

    Args:
        root: The folder `Multi-sources`.
        split: `"test"`, as in the paper, or another.
        ids: The clips: names, or a file of `write_ids`. By default they are selected.
        avss_root: Folder of AVSS, whose labels select the clips; by default MS3's own masks do,
            which miss changes from one sounding object to another.
        **options: Those of `AVSDataset`.

    Raises:
        DatasetError: As `AVSDataset`; or if no clip changes.

    Example:
        >>> dataset = MOC("Multi-sources", avss_root="AVSS", size=224)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = "test",
        ids: Sequence[str] | str | Path | None = None,
        *,
        avss_root: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, split, ids, **options)
        if ids is not None:
            return
        labels_from = None if avss_root is None else AVSS(avss_root, None, subsets=["v1m"])
        chosen = set(select_changing(self, labels_from))
        if not chosen:
            raise DatasetError(
                f"The masks show no change in any of the {len(self)} clips of {self.root} "
                f"({split}). Masks of MS3 do not tell objects apart; give `avss_root` for labels "
                "that do, or a list of `ids`."
            )
        self.rows = [row for row in self.rows if row.id in chosen]


class KeyframeDataset(Dataset[Sample]):
    """Single frames of a data set, one `Sample` of one frame each; see `keyframes_of`.

    Args:
        dataset: The data set with the clips.
        frames: Pairs (index of the clip, frame in the clip).
    """

    def __init__(self, dataset: Dataset[Sample], frames: Sequence[tuple[int, int]]) -> None:
        self.dataset = dataset
        self.frames = tuple(frames)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The data set's `metainfo`."""
        return dict(getattr(self.dataset, "metainfo", {}))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one keyframe; its clip has one frame and the audio of the whole clip."""
        clip_index, frame = self.frames[index]
        return self.dataset[clip_index].at(range(frame, frame + 1))


def keyframes_of(
    dataset: AVSDataset, provider: ControlPointProvider | None = None
) -> KeyframeDataset:
    """Collect the keyframes of a data set, to fine-tune a keyframe processor on (section 3.3).

    A keyframe is the first frame of a segment. The paper finds them with its control-point
    generator; by default they are taken from the true masks, which is how it annotates them
    (appendix A.1). Frames without a label are left out.

    Args:
        dataset: The data set; masks are read once, clips only for a provider.
        provider: Finds the control points, instead of the masks.

    Returns:
        The keyframes, in the order of the data set.

    Raises:
        DatasetError: If a file is missing or unusable.

    Example:
        >>> keyframes = keyframes_of(MS3("Multi-sources", "train"))  # doctest: +SKIP
        >>> keyframes[0].num_frames  # doctest: +SKIP
        1
    """
    frames: list[tuple[int, int]] = []
    for index in range(len(dataset)):
        masks, labelled = dataset.masks(index)
        if provider is not None:
            indices = provider.propose(dataset[index].clip).indices
        elif bool(labelled.all()):
            indices = from_masks(masks).indices
        else:
            indices = [0]
        # A control point in padding does not make a keyframe.
        frames += [(index, t) for t in indices if t < len(labelled) and bool(labelled[t])]
    return KeyframeDataset(dataset, frames)


@DATASETS.register_module()
class Keyframes(KeyframeDataset):
    """`keyframes_of` for configs: the keyframes of a data set that is built from a config.

    Args:
        dataset: Config of the data set, e.g. `dict(type="MS3", root=...)`.
        provider: Config or name of a control-point provider; by default the true masks decide.

    Example:
        >>> config = dict(type="Keyframes", dataset=dict(type="MS3", root="..."))
        >>> DATASETS.build(config)  # doctest: +SKIP
    """

    def __init__(
        self, dataset: dict[str, Any], provider: str | dict[str, Any] | None = None
    ) -> None:
        found = keyframes_of(
            build(DATASETS, dataset, "masks"),
            None if provider is None else build(PROVIDERS, provider, "propose"),
        )
        super().__init__(found.dataset, found.frames)

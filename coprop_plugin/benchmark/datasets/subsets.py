"""Parts of data sets that look at change: MOC, and the keyframes to fine-tune on."""

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
    """Find the clips in which the set of sounding objects changes, as MOC does (Table 3).

    The paper took 17 of MS3's 64 test clips in which what sounds changes, and does not list them.
    MS3's own masks say only when anything sounds: a change from dog to girl is invisible there.
    AVSS holds the same clips with classes.

    Args:
        dataset: The clips to choose from.
        labels_from: AVSS, to look up the labels of MS3's clips (subset v1m), see `twins`. By
            default the clips' own masks decide.

    Returns:
        Ids of `dataset`, in its order; may be none. `write_ids` writes them down.

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

    A clip's twin has its id as `uid`; or as `vid`, if that is so of one clip only.

    Args:
        ids: Ids of MS3's clips.
        avss: AVSS with every split (`split=None`) and subset that may hold them.

    Returns:
        From id to `uid`.

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
    """Multiple-sound Source Conversion: the clips of MS3 in which what sounds changes (Table 3).

    Args:
        root: The folder `Multi-sources`.
        split: `"test"`, as in the paper; any other as well.
        ids: The clips: names, or a file that `write_ids` wrote. By default they are selected.
        avss_root: Folder of AVSS, whose labels then decide; by default MS3's own masks do, which
            miss changes from one sounding object to another.
        **options: Those of `AVSDataset`.

    Raises:
        DatasetError: As `AVSDataset`; or if nothing changes in any clip.

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
                f"In none of the {len(self)} clips of {self.root} ({split}) does what sounds "
                "change, as far as the masks say: there is nothing to do. Masks of MS3 do not tell "
                "objects apart; give `avss_root` for labels that do, or a list of `ids`."
            )
        self.rows = [row for row in self.rows if row.id in chosen]


class KeyframeDataset(Dataset):
    """Single frames of a data set, one `Sample` of one frame each; see `keyframes_of`.

    Args:
        dataset: Where the clips are.
        frames: Pairs (index of the clip, frame in the clip).
    """

    def __init__(self, dataset: Dataset, frames: Sequence[tuple[int, int]]) -> None:
        self.dataset = dataset
        self.frames = tuple(frames)

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the data set."""
        return dict(getattr(self.dataset, "metainfo", {}))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one keyframe; its clip has one frame and the sound of the whole clip."""
        clip_index, frame = self.frames[index]
        return self.dataset[clip_index].at(range(frame, frame + 1))


def keyframes_of(
    dataset: AVSDataset, provider: ControlPointProvider | None = None
) -> KeyframeDataset:
    """Collect the keyframes of a data set, to fine-tune a keyframe processor on (section 3.3).

    A keyframe is the first frame of a segment. The paper finds them with its control point
    generator; by default they come from the true masks, which is how it annotates them
    (appendix A.1). Frames without a label are left out.

    Args:
        dataset: All frames; masks are read once, clips only if a provider has to hear them.
        provider: Who finds control points instead of the masks.

    Returns:
        The keyframes, in the order of the data set.

    Raises:
        DatasetError: If a file is missing or cannot be used.

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
        # What a provider found in padding is no keyframe.
        frames += [(index, t) for t in indices if t < len(labelled) and bool(labelled[t])]
    return KeyframeDataset(dataset, frames)


@DATASETS.register_module()
class Keyframes(KeyframeDataset):
    """`keyframes_of` as a config: the keyframes of a data set that is built from another config.

    Args:
        dataset: Config of the data set, `dict(type="MS3", root=...)` say.
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

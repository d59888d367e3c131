"""Off-screen sounds: for each clip the audio of another one that shows other things."""

import random
from collections.abc import Collection, Mapping
from typing import Literal, Protocol

from torch import Tensor

from coprop_plugin.benchmark.datasets import AVSDataset, Samples
from coprop_plugin.benchmark.datasets.listing import read_rows
from coprop_plugin.benchmark.world_clips import WorldSamples
from coprop_plugin.errors import DatasetError
from coprop_plugin.media import read_waveform
from coprop_plugin.world.splits import SPLITS

Group = Literal["music", "human", "animal", "device"]
"""Kinds of sound among which AVSBench-Robust tells clips apart."""

_S4: dict[Group, str] = {
    "music": "playing_acoustic_guitar playing_glockenspiel playing_piano playing_tabla "
    "playing_ukulele playing_violin",
    "human": "baby_laughter female_singing male_speech",
    "animal": "cat_meowing coyote_howling dog_barking horse_clip-clop lions_roaring "
    "mynah_bird_singing",
    "device": "ambulance_siren cap_gun_shooting chainsawing_trees driving_buses helicopter "
    "lawn_mowing race_car typing_on_computer_keyboard",
}
_MS3: dict[Group, str] = {
    "music": "guitar marimba piano tabla ukulele violin",
    "human": "baby man woman",
    "animal": "bird cat dog lion wolf",
    "device": "background bus car emergency-car gun keyboard mower saw",
}
_GROUPS: dict[str, Group] = {
    name: group for table in (_S4, _MS3) for group, names in table.items() for name in names.split()
}
_TOO_LIKE: dict[tuple[str, Group], Group] = {
    **{(subset, "music"): "human" for subset in ("v1s", "v1m")},
    **{(subset, "human"): "music" for subset in ("v1s", "v1m")},
    **{(subset, "animal"): "human" for subset in ("v1s", "v1m")},
    ("v1m", "device"): "music",
}
"""By subset and group: another group that is too like it to be a contrast."""
_DRAWS = 200


class OffScreen(Protocol):
    """Draws the off-screen sound of each clip of a set."""

    def source(self, index: int) -> str:
        """Return the name of the clip whose audio it is."""
        ...

    def waveform(self, index: int) -> tuple[Tensor, int]:
        """Return it, `[samples]`, and its sample rate."""
        ...


def off_screen_of(samples: Samples, seed: int) -> OffScreen:
    """Return the off-screen sounds of a set of clips.

    Clips of S4 get the audio of a random clip of a random category of another group (`Group`), as
    AVSBench-Robust's; clips of MS3 that of a random clip without a group in common, by the names
    in AVSS's table, or of any other clip without `avss_root`. Scenes of the world get the audio of
    a scene whose objects sound like none that they have. Other sets: any other clip.

    Args:
        samples: The clips.
        seed: With a clip's name it decides the draw, so that other clips do not matter.

    Raises:
        DatasetError: If there is only one clip to draw from.
    """
    if isinstance(samples, WorldSamples):
        return _OtherScenes(samples, seed)
    if len(samples) < 2:
        raise DatasetError(
            f"Expected two clips or more, got {len(samples)}: the off-screen sound of a clip is "
            "the audio of another."
        )
    if isinstance(samples, AVSDataset):
        return _OtherGroups(samples, seed)
    return _OtherClips(samples, seed)


def _random(seed: int, name: str) -> random.Random:
    return random.Random(f"off_screen {seed} {name}")


class _OtherClips:
    """The audio of any other clip."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self._samples, self._seed = samples, seed

    def _donor(self, index: int) -> int:
        others = [i for i in range(len(self._samples)) if i != index]
        return _random(self._seed, str(index)).choice(others)

    def source(self, index: int) -> str:
        return self._samples[self._donor(index)].id

    def waveform(self, index: int) -> tuple[Tensor, int]:
        clip = self._samples[self._donor(index)].clip
        return clip.waveform_at(clip.sample_rate), clip.sample_rate


class _OtherGroups:
    """The audio of a clip of AVSBench that shares no group of sounds."""

    def __init__(self, dataset: AVSDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed
        self._subset = str(getattr(dataset, "twin_subset", ""))
        self._names = _categories(dataset)

    def _donor(self, index: int) -> int:
        rows, own = self._dataset.rows, self._names[index]
        draw = _random(self._seed, rows[index].id)
        others = [i for i in range(len(rows)) if i != index]
        groups = _groups_of(own)
        avoided = groups | {
            _TOO_LIKE[self._subset, g] for g in groups if (self._subset, g) in _TOO_LIKE
        }
        apart = [i for i in others if groups and not _groups_of(self._names[i]) & avoided]
        # Without a contrast any clip of another category, as AVSBench-Robust does.
        apart = apart or [i for i in others if self._names[i] != own] or others
        if "category" in rows[index].values:
            category = draw.choice(sorted({rows[i].values["category"] for i in apart}))
            apart = [i for i in apart if rows[i].values["category"] == category]
        return draw.choice(apart)

    def source(self, index: int) -> str:
        return self._dataset.rows[self._donor(index)].id

    def waveform(self, index: int) -> tuple[Tensor, int]:
        return read_waveform(self._dataset.wav_file(self._dataset.rows[self._donor(index)]))


def _groups_of(names: Collection[str]) -> set[Group]:
    return {_GROUPS[name] for name in names if name in _GROUPS}


def _categories(dataset: AVSDataset) -> list[frozenset[str]]:
    """Return what sounds in each clip, by name; nothing where it is not known."""
    if "category" in dataset.columns:
        return [frozenset([row.values["category"]]) for row in dataset.rows]
    labels = getattr(dataset, "class_labels", None)
    if labels is None:
        return [frozenset()] * len(dataset)
    rows = read_rows(labels.avss.path, ("vid", "label", "a_obj"), labels.avss.id_column)
    known: Mapping[str, str] = {
        name: row.values["a_obj"]
        for row in rows
        if row.values["label"] == labels.subset
        for name in (row.id, row.values["vid"])
    }
    return [frozenset(known.get(row.id, "").split("_")) - {""} for row in dataset.rows]


class _OtherScenes:
    """The audio of another scene of the test split, of sounds that a scene does not have."""

    def __init__(self, samples: WorldSamples, seed: int) -> None:
        self._samples, self._seed = samples, seed

    def _donor(self, index: int) -> int:
        own = self._samples.seeds[index]
        here = {thing.class_id for thing in self._samples.scene(own).objects}
        draw, shared = _random(self._seed, str(own)), {}
        for seed in draw.sample(SPLITS["test"], _DRAWS):
            heard = {o.class_id for o in self._samples.scene(seed).objects if o.events}
            if heard and seed != own:
                shared[seed] = len(heard & here)
                if not shared[seed]:
                    return seed
        return min(shared, key=lambda seed: shared[seed])

    def source(self, index: int) -> str:
        return f"scene-{self._donor(index)}"

    def waveform(self, index: int) -> tuple[Tensor, int]:
        from coprop_plugin.world.scene import SAMPLE_RATE

        return self._samples.scene(self._donor(index)).waveform(), SAMPLE_RATE

"""A test set for control points: synthetic scenes with the sounds of real recordings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.world_clips import WorldOptions
from coprop_plugin.training.sound_folder import SoundFolder
from coprop_plugin.training.sound_mixtures import Mixture, MixtureRenderer
from coprop_plugin.world.scene import Scene
from coprop_plugin.world.splits import NUM_CLASSES, Split

# Other mixtures than those of training, also on the same split; other pictures than `WorldClips`'.
_FIRST_SEED = 1_000_000


class SoundScenes(Sequence[Sample]):
    """Synthetic scenes whose objects have the sounds of recordings, as clips with truth.

    The audio is a mixture of `MixtureRenderer`. Each of its sources is an object of the scene,
    whose mask is present while the source sounds; noise and off-screen sources have no object. The
    same seed gives the same clips.

    Args:
        folder: Folder of recordings, see `SoundFolder`.
        length: Number of clips.
        split: Split of the sources; the config `change_detector` does not train on "test".
        seed: Seed of the mixtures.
        options: Size of the frames, their number and rate.
        cache: As in `SoundFolder`.

    Raises:
        DatasetError: If the folder cannot be used; see `SoundFolder`.

    Example:
        >>> scenes = SoundScenes("sounds", 200)  # doctest: +SKIP
        >>> scenes[0].control_points, scenes.mixture(0).layout  # doctest: +SKIP
        (ControlPoints([0, 3, 7], num_frames=10, source='truth'), 'turns')
    """

    def __init__(
        self,
        folder: str | Path,
        length: int = 200,
        split: Split = "test",
        seed: int = 0,
        options: WorldOptions | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self.length, self.split = length, split
        self.options = options or WorldOptions()
        seconds = self.options.num_frames / self.options.fps
        self._render = MixtureRenderer(
            SoundFolder(folder, split, cache), seconds, _FIRST_SEED + seed
        )

    @property
    def ids(self) -> list[str]:
        """Names of the clips."""
        return [f"mixture-{number}" for number in range(self.length)]

    def __len__(self) -> int:
        return self.length

    def mixture(self, index: int) -> Mixture:
        """Render the audio of a clip."""
        return self._render(index)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Render one clip."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        mixture = self.mixture(index)
        scene = _scene_of(mixture, index, self.options)
        waveform = torch.from_numpy(mixture.waveform)
        clip = replace(scene.clip(self.options.fps, self.options.sampling), waveform=waveform)
        return Sample(
            self.ids[index],
            clip,
            scene.truth(clip),
            torch.ones(clip.num_frames, dtype=torch.bool),
            NUM_CLASSES,
            category=mixture.layout,
            split=self.split,
            control_points=scene.control_points(clip),
        )


def _scene_of(mixture: Mixture, seed: int, options: WorldOptions) -> Scene:
    """Return a scene whose objects sound when the sources of a mixture do."""
    seconds = options.num_frames / options.fps
    events = _events_of(mixture, seconds)
    # One more object, which never sounds.
    template = Scene.made_up(_FIRST_SEED + seed, seconds, options.size, len(events) + 1)
    objects = [
        replace(thing, events=tuple(spans))
        for thing, spans in zip(template.objects, [*events.values(), []], strict=True)
    ]
    return Scene(tuple(objects), seconds, options.size, template.seed)


def _events_of(mixture: Mixture, seconds: float) -> dict[int, list[tuple[float, float]]]:
    """Return half-open times at which each source of a mixture sounds, without short gaps."""
    states = mixture.states()
    ends = [second for second, _ in states[1:]] + [seconds]
    events: dict[int, list[tuple[float, float]]] = {turn.source: [] for turn in mixture.turns}
    for (start, active), stop in zip(states, ends, strict=True):
        for source in sorted(active):
            spans = events[source]
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((start, stop))
    return events

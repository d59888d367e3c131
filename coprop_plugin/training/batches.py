"""Collate functions: batches from clips of a data set, named in a config's `collate_fn`."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.audio.text_encoder import SILENCE
from coprop_plugin.errors import TrainingError
from coprop_plugin.registry import FUNCTIONS
from coprop_plugin.training.losses import IGNORED

BETWEEN_WORDS = ", "
"""Separator of the categories of a clip in a batch's `words`."""


def words_of_batch(words: Sequence[str] | None) -> list[list[str]]:
    """Return the names of each sample of a batch, equally many: shorter lists are repeated.

    Args:
        words: One text a sample, "" for silence; None if the batch has none.

    Raises:
        TrainingError: If it has none.

    Example:
        >>> words_of_batch(["dog, girl", ""])
        [['dog', 'girl'], ['silence', 'silence']]
    """
    if words is None:
        raise TrainingError(
            "The network is guided by text, but the clips have no words. Use a data set that names "
            "what sounds: AVSS, S4, or MS3 with `avss_root` or `words`."
        )
    names = [text.split(BETWEEN_WORDS) if text else [SILENCE] for text in words]
    most = max(map(len, names))
    return [list(islice(cycle(row), most)) for row in names]


def _words(sample: Any) -> str | None:
    """Return the words of a sample's clip, or else its categories, as one text."""
    names = sample.categories if sample.clip.words is None else sample.clip.words
    return None if names is None else BETWEEN_WORDS.join(names)


@FUNCTIONS.register_module()
def labelled_frames(samples: Sequence[Any]) -> dict[str, Any]:
    """Collate all labelled frames of the clips, for `KeyframeTraining`.

    Args:
        samples: Samples of AVSBench's data sets.

    Returns:
        `frame` `[N, 3, H, W]`, `log_mel` `[N, 1, 96, 64]`, `mask` `[N, H, W]`, and `clip` `[N]`,
        the index of each frame's sample; and, if what sounds is known by name, `words`, a text for
        each frame, "" if nothing does.

    Raises:
        TrainingError: If no frame is labelled, or clips differ in size.
    """
    samples = _of_one_size(samples)
    kept = [sample.labelled & sample.real for sample in samples]
    if not any(bool(rows.any()) for rows in kept):
        raise TrainingError(
            "The clips are without a labelled frame. Leave them out of the data set with `ids`."
        )
    pairs = list(zip(samples, kept, strict=True))
    words = [_words(sample) for sample, rows in pairs for _ in range(int(rows.sum()))]
    named = {} if None in words else dict(words=words)
    return named | dict(
        frame=torch.cat([sample.clip.frames[rows] for sample, rows in pairs]),
        log_mel=torch.cat([clip_log_mel(sample.clip)[rows] for sample, rows in pairs]),
        mask=torch.cat([sample.masks[rows] for sample, rows in pairs]),
        clip=torch.cat([torch.full((int(rows.sum()),), n) for n, rows in enumerate(kept)]),
    )


@FUNCTIONS.register_module()
def sounding_clips(samples: Sequence[Any]) -> dict[str, Any]:
    """Start clips at their first labelled frame with a sounding object.

    For `PropagatorTraining`. Object ids are the classes of the first frame; objects that start to
    sound later are background. Shorter clips repeat their last frame; masks are 255 there and in
    unlabelled frames.

    Args:
        samples: As in `labelled_frames`.

    Returns:
        `frames` `[B, T, 3, H, W]`, `log_mel` `[B, T, 1, 96, 64]`, `times` `[B, T]`, `masks`
        `[B, T, H, W]`; `classes` `[B, 1 + n]`, the class of each object id; `num_classes`, those of
        the data set; and, if what sounds is known by name, `words`, one text a clip, "" if nothing
        does.

    Raises:
        TrainingError: If clips differ in size.
    """
    samples = _of_one_size(samples)
    num_frames = max(len(sample.masks) for sample in samples)
    rows = [_sounding(sample, num_frames) for sample in samples]
    classes = pad_sequence([row.pop("classes") for row in rows], batch_first=True)
    batch: dict[str, Any] = {n: torch.stack([row[n] for row in rows]) for n in rows[0]}
    batch |= dict(classes=classes, num_classes=samples[0].num_classes)
    words = [_words(sample) for sample in samples]
    return batch if None in words else batch | dict(words=words)


def _sounding(sample: Any, num_frames: int) -> dict[str, Tensor]:
    known = sample.labelled & sample.real
    sounds = known & sample.masks.flatten(1).any(1)
    start = int(sounds.int().argmax())
    shown = [c for c in sample.masks[start].unique().tolist() if c]
    table = torch.zeros(256, dtype=torch.long)
    table[shown] = torch.arange(1, len(shown) + 1)
    masks = table[sample.masks]
    masks[~known] = IGNORED
    if not bool(sounds.any()):
        masks[start] = 0
    last = int(sample.real.nonzero()[-1])
    wanted = start + torch.arange(num_frames)
    indices = wanted.clamp_max(last)
    masks = masks[indices]
    masks[wanted > last] = IGNORED
    gap_s = torch.arange(num_frames) - (indices - start)
    return dict(
        frames=sample.clip.frames[indices],
        log_mel=clip_log_mel(sample.clip)[indices],
        times=sample.clip.times[indices] + gap_s,
        masks=masks,
        classes=torch.tensor([0, *shown]),
    )


def _of_one_size(samples: Sequence[Any]) -> Sequence[Any]:
    sizes = {tuple(sample.masks.shape[1:]) for sample in samples}
    if len(sizes) > 1:
        raise TrainingError(
            f"Expected clips of one size in a batch, got {len(sizes)} sizes: {sorted(sizes)[:4]}. "
            "Set the `size` of the data set, e.g. 224."
        )
    return samples

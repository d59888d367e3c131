"""New mixtures from the log-mels of rendered ones, in a tenth of the time of rendering."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coprop_plugin.audio.log_mel import HOP, LOG_OFFSET, SAMPLE_RATE
from coprop_plugin.control_points.listening.change_network import peak_level_db
from coprop_plugin.training.sound_mixtures import Turn

_ROW_S = HOP / SAMPLE_RATE
# More turns in ten seconds can hardly be heard apart.
_MOST_TURNS = 7
# Numbers of the sources of a second mixture and of a steady noise; a mixture has a few.
_SECOND = 1000
_NOISE = 2000


@dataclass(frozen=True)
class MixtureRows:
    """The log-mels of a mixture.

    Attributes:
        rows: `[rows, 64]`, 100 rows a second.
        turns: The intervals in which sources sound.
    """

    rows: Tensor
    turns: tuple[Turn, ...]


def varied(
    mixture: MixtureRows, draw: Callable[[], MixtureRows], rng: np.random.Generator
) -> MixtureRows:
    """Return a mixture that at random is joined or followed by another, or by a steady noise.

    It is always heard through another microphone.

    Args:
        mixture: A mixture.
        draw: Draws another mixture of the same length.
        rng: Decides what happens.

    Example:
        >>> one = MixtureRows(torch.zeros(1000, 64), (Turn(0, 0.0, 6.0),))
        >>> other = MixtureRows(torch.zeros(1000, 64), (Turn(0, 4.0, 10.0),))
        >>> varied(one, lambda: other, np.random.default_rng(2)).turns[1].start_s
        4.0
    """
    way = rng.random()
    if way < 0.4:
        mixture = _joined(mixture, draw(), rng)
    elif way < 0.6:
        mixture = _followed(mixture, draw(), rng)
    if rng.random() < 0.1 and len(mixture.turns) < _MOST_TURNS:
        mixture = _with_steady_noise(mixture, rng)
    return replace(mixture, rows=through_microphone(mixture.rows, rng))


def through_microphone(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """Return log-mels `[rows, 64]` as of another microphone.

    Another frequency response, and at random another pitch, level over time and noise.

    Example:
        >>> through_microphone(torch.zeros(100, 64), np.random.default_rng(0)).shape
        torch.Size([100, 64])
    """
    mel = _magnitudes(rows)
    num_rows, num_bands = rows.shape
    if rng.random() < 0.3:
        shift = int(rng.choice([-2, -1, 1, 2]))
        mel = mel[:, np.clip(np.arange(num_bands) + shift, 0, num_bands - 1)]
    mel = mel * _gain(_random_curve_db(num_bands, 2.5, rng))
    if rng.random() < 0.2:
        knots_db = rng.uniform(-8, 0, max(2, num_rows // 150))
        places = np.linspace(0, len(knots_db) - 1, num_rows)
        mel = mel * _gain(np.interp(places, np.arange(len(knots_db)), knots_db))[:, None]
    if rng.random() < 0.3:
        floor = float(mel.amax()) * 10 ** (-float(rng.uniform(30, 60)) / 20)
        mel = torch.hypot(mel, floor * _grain(rows, rng))
    return _log(mel)


def _joined(mixture: MixtureRows, other: MixtureRows, rng: np.random.Generator) -> MixtureRows:
    """Add another mixture, unless there are too many turns then."""
    if len(mixture.turns) + len(other.turns) > _MOST_TURNS:
        return mixture
    mel = _summed(_magnitudes(mixture.rows), _near_level_of(mixture, other, 8.0, rng), rng)
    return MixtureRows(_log(mel), (*mixture.turns, *_renumbered(other.turns)))


def _followed(mixture: MixtureRows, other: MixtureRows, rng: np.random.Generator) -> MixtureRows:
    """Cut to another mixture, at a moment at which a source sounds on either side."""
    cut = int(float(rng.uniform(0.15, 0.85)) * len(mixture.rows))
    cut_s = cut * _ROW_S
    before = [t for t in mixture.turns if t.start_s < cut_s]
    after = [t for t in _renumbered(other.turns) if t.stop_s > cut_s]
    if not any(t.stop_s >= cut_s for t in before) and not any(t.start_s <= cut_s for t in after):
        return mixture
    mel = torch.cat(
        [_magnitudes(mixture.rows)[:cut], _near_level_of(mixture, other, 7.0, rng)[cut:]]
    )
    return MixtureRows(
        _log(mel),
        (
            *(replace(t, stop_s=min(t.stop_s, cut_s)) for t in before),
            *(replace(t, start_s=max(t.start_s, cut_s)) for t in after),
        ),
    )


def _with_steady_noise(mixture: MixtureRows, rng: np.random.Generator) -> MixtureRows:
    """Add a source that is a steady noise, such as an engine, for a part of the time."""
    seconds = len(mixture.rows) * _ROW_S
    start_s = float(rng.uniform(0, max(seconds - 1.5, 0)))
    stop_s = min(start_s + float(rng.uniform(1.5, 6.0)), seconds)
    fade_s = float(rng.choice([0.02, 0.1, 0.4]))
    times_s = np.arange(len(mixture.rows)) * _ROW_S
    fade = np.clip(np.minimum(times_s - start_s, stop_s - times_s) / fade_s + 0.5, 0, 1)
    curve_db = _random_curve_db(mixture.rows.shape[1], 6.0, rng)
    level_db = float(peak_level_db(mixture.rows)) - float(rng.uniform(0, 14))
    noise = _gain(curve_db - curve_db.max() + level_db) * _grain(mixture.rows, rng)
    mel = _summed(_magnitudes(mixture.rows), noise * torch.from_numpy(fade).float()[:, None], rng)
    return MixtureRows(_log(mel), (*mixture.turns, Turn(_NOISE, start_s, stop_s)))


def _magnitudes(rows: Tensor) -> Tensor:
    return (rows.exp() - LOG_OFFSET).clamp_min(0)


def _log(mel: Tensor) -> Tensor:
    return (mel + LOG_OFFSET).log()


def _gain(decibel: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(10 ** (decibel / 20)).float()


def _random_curve_db(
    num_bands: int, spread_db: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a smooth frequency response, `[num_bands]`."""
    places = np.linspace(0, np.pi, num_bands)
    return np.sum([float(rng.normal(0, spread_db)) * np.cos(n * places) for n in (1, 2, 3)], axis=0)


def _grain(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the magnitudes of white noise of a level of about 1, of the shape of `rows`."""
    return torch.from_numpy(rng.rayleigh(0.8, rows.shape).astype(np.float32))


def _summed(one: Tensor, other: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the magnitudes of the sum of two sounds whose phases are unrelated."""
    cosine = torch.from_numpy(rng.standard_normal(one.shape, np.float32)).mul(0.4).clamp(-1, 1)
    return (one.square() + other.square() + 2 * cosine * one * other).clamp_min(0).sqrt()


def _near_level_of(
    mixture: MixtureRows, other: MixtureRows, spread_db: float, rng: np.random.Generator
) -> Tensor:
    """Return the magnitudes of another mixture, about as loud as the first."""
    difference_db = float(peak_level_db(mixture.rows) - peak_level_db(other.rows))
    gain_db = difference_db + float(rng.uniform(-spread_db, spread_db))
    return _magnitudes(other.rows) * 10 ** (gain_db / 20)


def _renumbered(turns: Sequence[Turn]) -> list[Turn]:
    return [replace(turn, source=turn.source + _SECOND) for turn in turns]

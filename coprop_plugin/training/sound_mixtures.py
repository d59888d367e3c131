"""Mixtures of recordings with the true times at which each source sounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from coprop_plugin.errors import DatasetError
from coprop_plugin.training.sound_effects import (
    at_speed,
    background,
    in_room,
    through_channel,
    tilted,
)
from coprop_plugin.training.sound_folder import RATE, SoundFolder, SoundSource, Wave

Layout = Literal["single", "turns", "overlap", "rapid", "silence"]
"""How sources follow each other: one alone; in turn; overlapping; in turn within less than two
seconds; with silence between them."""

LONGEST_PAUSE_S = 0.8
"""After a longer pause a source counts as silent."""
SHORTEST_GAP_S = 0.5
"""A shorter silence between two sources does not count as silence."""
SHORTEST_STATE_S = 0.25
"""A shorter overlap, or solo, does not count as a state."""
_BLOCK = 160
_AUDIBLE_DB = -32.0
_SHARES: dict[Layout, float] = {
    "single": 0.14,
    "turns": 0.24,
    "overlap": 0.3,
    "rapid": 0.16,
    "silence": 0.16,
}
_KIND_SHARES = {"voice": 0.32, "effect": 0.4, "instrument": 0.18, "music": 0.1}


@dataclass(frozen=True)
class Turn:
    """An interval in which a source sounds.

    Attributes:
        source: Index of the source within the mixture.
        start_s: Start in seconds.
        stop_s: End in seconds.
    """

    source: int
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Mixture:
    """A waveform, and the times at which each source sounds.

    Attributes:
        waveform: `[samples]` at 16 kHz.
        turns: The intervals in which sources sound.
        layout: How the sources follow each other.
        conditions: What makes it harder: "offscreen", "noise", "music", "same kind", "fade".
    """

    waveform: Wave
    turns: tuple[Turn, ...]
    layout: Layout
    conditions: tuple[str, ...] = ()

    def states(self) -> list[tuple[float, frozenset[int]]]:
        """Return the times, in seconds, at which the set of sounding sources changes, and the sets.

        The first entry is at 0 s. Silence of less than `SHORTEST_GAP_S` and other states of less
        than `SHORTEST_STATE_S` are merged: the change is at the end of such a gap, and in the
        middle of such an overlap.
        """
        return merged_states(self.turns, len(self.waveform) / RATE)


def merged_states(turns: Sequence[Turn], seconds: float) -> list[tuple[float, frozenset[int]]]:
    """Return `Mixture.states` of turns in a sound of a length in seconds.

    Example:
        >>> [(s, sorted(x)) for s, x in merged_states([Turn(0, 0, 3), Turn(1, 3.1, 5.0)], 8)]
        [(0.0, [0]), (3.1, [1]), (5.0, [])]
    """
    turns = [
        replace(
            turn,
            start_s=turn.start_s if turn.start_s >= SHORTEST_STATE_S else 0.0,
            stop_s=turn.stop_s if turn.stop_s <= seconds - SHORTEST_STATE_S else seconds + 1,
        )
        for turn in turns
    ]
    inner = (edge for turn in turns for edge in (turn.start_s, turn.stop_s) if edge < seconds)
    edges = sorted({0.0, *inner})
    found: list[tuple[float, frozenset[int]]] = []
    for edge in edges:
        active = frozenset(t.source for t in turns if t.start_s <= edge < t.stop_s)
        if not found or active != found[-1][1]:
            found.append((edge, active))
    number = 1
    while number < len(found) - 1:
        (start, state), (stop, following) = found[number], found[number + 1]
        before = found[number - 1][1]
        if stop - start >= (SHORTEST_STATE_S if state else SHORTEST_GAP_S):
            number += 1
            continue
        is_gap = state <= before and state <= following
        at = stop if is_gap else start if following <= state and before <= following else None
        found[number + 1] = ((start + stop) / 2 if at is None else at, following)
        del found[number]
        if following == before:
            del found[number]
        number = max(1, number - 1)
    return found


class MixtureRenderer:
    """Renders mixtures of the sources in a folder; each depends on seed and index only.

    Args:
        sounds: The recordings.
        seconds: Length of a mixture, at least 2.
        seed: Seed of all mixtures.

    Raises:
        DatasetError: If mixtures are shorter than 2 s.

    Example:
        >>> mixture = MixtureRenderer(SoundFolder("sounds", "val"))(0)  # doctest: +SKIP
        >>> mixture.layout, mixture.states()  # doctest: +SKIP
        ('turns', [(0.0, frozenset({0})), (3.4, frozenset({1}))])
    """

    def __init__(self, sounds: SoundFolder, seconds: float = 10.0, seed: int = 0) -> None:
        if not seconds >= 2:
            raise DatasetError(f"Expected mixtures of at least 2 s, got seconds={seconds}.")
        self.sounds, self.seconds, self.seed = sounds, seconds, seed
        self._by_kind: dict[str, list[SoundSource]] = {}
        for source in sounds.sources:
            self._by_kind.setdefault(source.kind, []).append(source)
        shares = np.array([_KIND_SHARES.get(kind, 0.3) for kind in self._by_kind])
        self._kinds, self._shares = list(self._by_kind), shares / shares.sum()

    def __call__(self, index: int, layout: Layout | None = None) -> Mixture:
        """Render mixture `index`, with a random layout unless one is given."""
        rng = np.random.default_rng([self.seed, index])
        layouts = get_args(Layout)
        drawn: Layout = layouts[int(rng.choice(len(layouts), p=[_SHARES[x] for x in layouts]))]
        layout = layout or drawn
        plan = _plan(layout, self.seconds, rng)
        voices, conditions = self._cast(plan, rng)
        length = int(self.seconds * RATE)
        mix = np.zeros(length, np.float32)
        turns: list[Turn] = []
        for turn in plan:
            voice = voices[turn.source]
            audio = self._perform(voice, turn, rng)
            first = int(turn.start_s * RATE)
            mix[first : first + len(audio)] += audio
            turns += _audible(audio, turn, first / RATE)
        if any(voice.fade_s > 0.1 for voice in voices):
            conditions += ("fade",)
        conditions += self._add_surroundings(mix, rng)
        if rng.random() < 0.15:
            mix = in_room(mix, rng)
        return Mixture(through_channel(mix, rng), tuple(_disjoint(turns)), layout, conditions)

    def _draw(self, rng: np.random.Generator, kind: str | None = None) -> SoundSource:
        kind = kind or str(rng.choice(self._kinds, p=self._shares))
        return self._by_kind[kind][int(rng.integers(len(self._by_kind[kind])))]

    def _cast(
        self, plan: Sequence[Turn], rng: np.random.Generator
    ) -> tuple[list["_Voice"], tuple[str, ...]]:
        """Draw a source for each number in a plan, and its properties in this mixture."""
        count = 1 + max(turn.source for turn in plan)
        first = self._draw(rng)
        same_kind = count > 1 and rng.random() < 0.2
        chosen = [first]
        while len(chosen) < count:
            other = self._draw(rng, first.kind if same_kind else None)
            if other not in chosen or len(self._by_kind[other.kind]) <= count:
                chosen.append(other)
        spread_db = float(rng.choice([2.0, 4.0, 7.0]))
        fade_s = float(rng.uniform(0.1, 0.8)) if rng.random() < 0.15 else 0.0
        voices = [
            _Voice(
                source=source,
                speed=float(np.exp(rng.normal(0, 0.12))) if rng.random() < 0.6 else 1.0,
                gain=10 ** (float(rng.uniform(-spread_db, spread_db)) / 20),
                tilt=float(rng.uniform(-0.6, 0.6)) if rng.random() < 0.4 else 0.0,
                pause_s=float(rng.choice([0.0, 0.06, 0.2, 0.4, 0.7])),
                burst_s=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.15 else None,
                noise_db=float(rng.uniform(-45, -18)) if rng.random() < 0.35 else None,
                cropped=bool(rng.random() < 0.6),
                fade_s=fade_s or float(rng.uniform(0.004, 0.03)),
                in_room=bool(rng.random() < 0.15),
                swells=bool(rng.random() < 0.2),
                varies=bool(rng.random() < 0.5),
            )
            for source in chosen
        ]
        named = [(same_kind, "same kind"), (any(s.kind == "music" for s in chosen), "music")]
        return voices, tuple(name for true, name in named if true)

    def _perform(self, voice: "_Voice", turn: Turn, rng: np.random.Generator) -> Wave:
        """Return the audio of a source in one of its turns."""
        length = int((turn.stop_s - turn.start_s) * RATE)
        audio = self._sequence(voice, length, rng)
        if voice.tilt:
            audio = tilted(audio, voice.tilt)
        if voice.in_room:
            audio = in_room(audio, rng)
        if voice.swells:
            knots = 10 ** (rng.uniform(-10, 0, max(2, length // RATE + 1)) / 20)
            gain = np.interp(
                np.linspace(0, len(knots) - 1, len(audio)), np.arange(len(knots)), knots
            )
            audio = audio * gain.astype(np.float32)
        if voice.noise_db is not None:
            audio = audio + np.float32(_at_level(voice.noise_db)) * background(len(audio), rng)
        return _faded(audio, voice.fade_s) * np.float32(voice.gain)

    def _sequence(self, voice: "_Voice", length: int, rng: np.random.Generator) -> Wave:
        """Play recordings of a source one after another, with pauses."""
        source = voice.source
        out, at = np.zeros(length, np.float32), 0
        number = int(rng.integers(len(source.pieces)))
        favourites = rng.integers(len(source.pieces), size=3)
        while at < length:
            needed = int((length - at) * voice.speed) + 2
            piece = self.sounds.piece(source, number)
            if at == 0 and len(piece) > needed and rng.random() < 0.7:
                piece = piece[int(rng.integers(len(piece) - needed + 1)) :]
            if voice.burst_s is not None:
                burst = int(voice.burst_s * float(rng.uniform(0.6, 1.4)) * RATE)
                first = int(rng.integers(max(0, len(piece) - burst) + 1))
                piece = _faded(piece[first : first + burst], 0.02)
            varied = float(np.exp(rng.normal(0, 0.04))) if voice.varies else 1.0
            piece = at_speed(piece[: int(needed * varied) + _BLOCK], voice.speed * varied)
            if voice.varies:
                piece = tilted(piece, float(rng.uniform(-0.25, 0.25)))
                piece = piece * np.float32(10 ** (float(rng.uniform(-8, 0)) / 20))
            fits = len(piece) <= length - at
            if not fits and at and not voice.cropped and length - at < LONGEST_PAUSE_S * RATE:
                break
            piece = piece[: length - at]
            out[at : at + len(piece)] += _faded(piece, 0.004)
            pause_s = min(float(rng.exponential(voice.pause_s)), 0.75) if voice.pause_s else 0.0
            at += max(len(piece), _BLOCK) + int(pause_s * RATE)
            few = rng.random() < 0.5
            number = int(rng.choice(favourites) if few else rng.integers(len(source.pieces)))
        return out

    def _add_surroundings(self, mix: Wave, rng: np.random.Generator) -> tuple[str, ...]:
        """Add, in place, audio that goes on throughout: noise, or an off-screen source."""
        conditions: tuple[str, ...] = ()
        if rng.random() < 0.6:
            snr_db = float(rng.uniform(12, 50))
            mix += _at_level(-snr_db) * background(len(mix), rng)
            conditions += ("noise",) if snr_db < 25 else ()
        if rng.random() < 0.15:
            voice = _Voice(self._draw(rng), pause_s=0.0)
            whole = Turn(0, 0.0, len(mix) / RATE)
            audio = self._perform(replace(voice, fade_s=0.01), whole, rng)[: len(mix)]
            mix[: len(audio)] += audio * np.float32(10 ** (-float(rng.uniform(10, 26)) / 20))
            conditions += ("offscreen",)
        return conditions


@dataclass(frozen=True)
class _Voice:
    """A source and its properties in one mixture.

    Attributes:
        source: The source.
        speed: Playback speed.
        gain: Factor on its samples.
        tilt: See `tilted`.
        pause_s: Mean pause between two of its recordings.
        burst_s: Mean length of the parts that its recordings are cut to, as a dog's barks; None:
            whole.
        noise_db: Level of the noise of its own recording, which also fills its pauses, relative to
            its loud parts; None: none.
        cropped: Whether a recording may be cut by the end of a turn.
        fade_s: Fade at both ends of a turn.
        in_room: Whether it has reverberation of its own.
        swells: Whether its level changes within a turn.
        varies: Whether its recordings differ in speed, colour and level.
    """

    source: SoundSource
    speed: float = 1.0
    gain: float = 1.0
    tilt: float = 0.0
    pause_s: float = 0.1
    burst_s: float | None = None
    noise_db: float | None = None
    cropped: bool = True
    fade_s: float = 0.01
    in_room: bool = False
    swells: bool = False
    varies: bool = False


def _plan(layout: Layout, seconds: float, rng: np.random.Generator) -> list[Turn]:
    """Draw the turns of a mixture."""
    if layout == "single":
        return [Turn(0, 0.0, seconds)]
    if layout == "overlap":
        return _overlap(seconds, rng)
    if layout == "turns":
        return _succession(seconds, rng, least_s=1.2, most_s=5.0, silent=0.15)
    if layout == "rapid":
        return _succession(seconds, rng, least_s=0.5, most_s=1.8, silent=0.1)
    return _succession(seconds, rng, least_s=0.8, most_s=4.0, silent=0.85)


def _overlap(seconds: float, rng: np.random.Generator) -> list[Turn]:
    """Draw turns in which sources join and leave others that go on."""
    count = int(rng.choice([2, 2, 2, 3]))
    shortest = 0.6 if rng.random() < 0.3 else 1.0
    turns: list[Turn] = []
    for source in range(count):
        for _ in range(1 if rng.random() < 0.75 else 2):
            start = 0.0 if source == 0 and not turns else float(rng.uniform(0, seconds - shortest))
            length = float(rng.uniform(shortest, seconds))
            turns.append(Turn(source, start, min(start + length, seconds)))
    return _disjoint(turns)


def _succession(
    seconds: float, rng: np.random.Generator, least_s: float, most_s: float, silent: float
) -> list[Turn]:
    """Draw turns one after another, some with silence, a short gap or overlap between them."""
    count = int(rng.choice([2, 2, 3, 4]))
    at, last = 0.0, -1
    turns: list[Turn] = []
    if rng.random() < silent:
        at = min(float(rng.uniform(0.8, 3.0)), seconds / 2)
    while at < seconds - 0.4:
        length = float(rng.uniform(least_s, most_s))
        silence = bool(rng.random() < silent)
        others = [n for n in range(count) if n != last]
        source = int(rng.integers(count)) if turns and silence else int(rng.choice(others))
        if turns and source == last and at - turns[-1].stop_s < LONGEST_PAUSE_S:
            source = int(rng.choice(others))
        turns.append(Turn(source, at, min(at + length, seconds)))
        gap = (
            float(rng.uniform(1.1, 3.5)) if silence else float(rng.choice([0, 0, 0.05, 0.3, -0.1]))
        )
        at, last = max(at + 0.3, at + length + gap), source
    return turns


def _disjoint(turns: list[Turn]) -> list[Turn]:
    """Join turns of the same source with hardly a pause between them."""
    joined: list[Turn] = []
    for turn in sorted(turns, key=lambda t: (t.source, t.start_s)):
        last = joined[-1] if joined else None
        if last and last.source == turn.source and turn.start_s < last.stop_s + LONGEST_PAUSE_S:
            joined[-1] = replace(last, stop_s=max(last.stop_s, turn.stop_s))
        else:
            joined.append(turn)
    return joined


def _at_level(level_db: float) -> float:
    """Return the factor that brings noise of RMS 1 to a level relative to the sources'."""
    return float(0.1 * 10 ** (level_db / 20))


def _faded(waveform: Wave, fade_s: float) -> Wave:
    """Fade a sound in and out, in place."""
    count = min(int(fade_s * RATE), len(waveform) // 2)
    if count:
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        waveform[:count] *= ramp
        waveform[-count:] *= ramp[::-1]
    return waveform


def _audible(audio: Wave, turn: Turn, start_s: float) -> list[Turn]:
    """Return the parts of a turn that are audible: not far below its loud parts."""
    count = len(audio) // _BLOCK
    if not count:
        return []
    power = (audio[: count * _BLOCK].reshape(count, _BLOCK) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > np.percentile(power, 90) * 10 ** (_AUDIBLE_DB / 10) + 1e-10)
    if not len(loud):
        return []
    seconds = _BLOCK / RATE
    splits = np.flatnonzero(np.diff(loud) * seconds > LONGEST_PAUSE_S)
    firsts = [loud[0], *loud[splits + 1]]
    lasts = [*loud[splits], loud[-1]]
    return [
        Turn(turn.source, float(start_s + a * seconds), float(start_s + (b + 1) * seconds))
        for a, b in zip(firsts, lasts, strict=True)
    ]

"""Control points of a trained change detector."""

from collections.abc import Iterator
from functools import cached_property
from itertools import compress, pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from coprop_plugin.checkpoints.native import SHIPPED
from coprop_plugin.control_points.listening.boundaries import SILENT
from coprop_plugin.control_points.listening.change_decoding import (
    THRESHOLD,
    FoundChange,
    Steps,
    find_changes,
    is_silent,
    level_between,
)
from coprop_plugin.control_points.listening.change_network import (
    ROWS_PER_STEP,
    STEP_S,
    ChangeNetwork,
    load_change_network,
    peak_level_db,
)
from coprop_plugin.control_points.listening.mel_rows import (
    ROWS_PER_SECOND,
    MelRows,
    clip_mel_rows,
)
from coprop_plugin.control_points.novelty import find_audio_changes
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import change_frames, segment_starts_s, states_of_spans

WEIGHTS = SHIPPED / "change_detector.safetensors"
"""Weights of the change detector that ships."""
BLOCK_S = 30.0
"""Audio is processed in blocks of this length, so that memory does not grow with it."""
CONTEXT_S = 10.0
"""Audio before and after a block that the changes in it depend on."""
# About -75 dB of full scale in the loudest band: dither, codec residue, digital silence.
_SILENT_DB = -50.0
# As long as the mixtures of the training, in which the loud parts are not rare.
_PEAK_ROWS = 10 * ROWS_PER_SECOND
_BELOW_LOUDEST_PEAK_DB = 3.0
# A background is quieter: what is half as loud as the loudest 0.2 s sounds, whatever it is.
_BELOW_LOUDEST_DB = 6.0
_LONGEST_WAIT_S = 300.0
# The time of a row is the middle of its window; that of a step, the middle of its first two rows.
_FIRST_ROW = 0.5
_BLOCK_STEPS = round(BLOCK_S / STEP_S)
_CONTEXT_STEPS = round(CONTEXT_S / STEP_S)


@PROVIDERS.register_module(name=["ChangeDetectorProvider", "change_detector"])
class ChangeDetectorProvider:
    """Control points where a trained network detects that the set of sounding sources changes.

    The network (`ChangeNetwork`, one output every 40 ms) is trained on mixtures of recordings: a
    source that pauses, repeats or changes its level stays the same source. Works from a waveform or
    from log-mels, at any frame rate; a clip that only has embeddings gets the control points of
    `novelty`.

    Audio is processed in blocks of 30 s. A change depends on the 20 s before and after it, and on
    the level of its block; whether a steady sound at the beginning is the background, on the sound
    after it, up to five minutes later.

    The log holds `boundaries` (second, rule, score) before snapping, where the score is the
    probability of a change, and `probs`, the probability of each control point, 1 for the first.
    Frames in silence are marked `silent`. Steady noise that goes on behind the sources is none,
    unless it is half as loud as the loudest 0.2 s; a sound that does not change at all is silent
    only if it is quiet.

    Args:
        weights: Safetensors of a `ChangeNetwork`, as `coprop train change_detector` writes them.
            None: those that ship.
        threshold: Lowest probability of a control point. A lower threshold finds more changes, and
            more false ones.

    Raises:
        ControlPointError: If the threshold is not a probability.

    Example:
        >>> import torch
        >>> clip = Clip(torch.rand(4, 3, 8, 8), torch.zeros(64_000), 16_000, sampling="avsbench")
        >>> ChangeDetectorProvider(threshold=0.35).propose(clip).indices
        [0]
    """

    def __init__(self, weights: str | Path | None = None, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold < 1:
            raise ControlPointError(
                f"Expected a probability between 0 and 1, got threshold={threshold!r}. "
                f"The default is {THRESHOLD}."
            )
        self.weights = WEIGHTS if weights is None else weights
        self.threshold = threshold

    @cached_property
    def network(self) -> ChangeNetwork:
        """The network, loaded at first use.

        Raises:
            CheckpointError: If the weights cannot be loaded.
        """
        return load_change_network(self.weights)

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the set of sounding sources changes.

        Raises:
            ClipError: If the clip has no audio in any form.
            CheckpointError: If the weights cannot be loaded.
        """
        *_, (points, _) = self.propose_ahead(clip)
        return points

    def propose_ahead(self, clip: Clip) -> Iterator[tuple[ControlPoints, int]]:
        """Find changes block by block, for a stream that starts before all audio is processed.

        Yields:
            After each block, control points and the number of first frames for which they are
            final; at the end those of `propose`, which are final for all frames.

        Raises:
            ClipError: If the clip has no audio in any form.
            CheckpointError: If the weights cannot be loaded.
        """
        if clip.waveform is None and clip.log_mel is None and clip.audio_embedding is not None:
            yield find_audio_changes(clip).points(clip, "change_detector"), clip.num_frames
            return
        found = _ChangesSoFar(clip, self.threshold)
        ends_s = clip.spans[:, 1]
        for known_s in self._process(found):
            final = int((ends_s <= known_s).sum())
            if not found.waits and 0 < final < clip.num_frames:
                yield found.points(final), final
        yield found.points(clip.num_frames), clip.num_frames

    def _process(self, found: "_ChangesSoFar") -> Iterator[float]:
        """Process all blocks; yields the second up to which changes are known."""
        blocks = self._blocks(found.rows)
        before, block = None, next(blocks, None)
        start = 0
        while block is not None:
            after = next(blocks, None)
            parts, first = [block], start
            if before is not None:
                context = before[max(0, len(before) - _CONTEXT_STEPS) :]
                parts.insert(0, context)
                first -= len(context)
            if after is not None:
                parts.append(after[:_CONTEXT_STEPS])
            found.add(Steps.joined(parts), first, start, start + len(block), self.network)
            start += len(block)
            yield found.rows.seconds(start * ROWS_PER_STEP)
            before, block = block, after

    def _blocks(self, rows: MelRows) -> Iterator[Steps]:
        """Run the network on each block with its context; yields the block's own steps."""
        length, margin = _BLOCK_STEPS * ROWS_PER_STEP, _CONTEXT_STEPS * ROWS_PER_STEP
        for start in range(0, len(rows), length):
            first = max(0, start - margin)
            log_mel = rows.log_mel[first : start + length + margin].detach().float().cpu()
            skipped = (start - first) // ROWS_PER_STEP
            yield self._predict(log_mel)[skipped : skipped + _BLOCK_STEPS]

    @torch.no_grad()
    def _predict(self, log_mel: Tensor) -> Steps:
        """Run the network on log-mels `[rows, 64]`."""
        peak_db = _sparse_peak_db(log_mel)
        steps = Steps.of(self.network(log_mel[None], peak_db[None]), log_mel)
        if float(peak_db) <= _SILENT_DB:
            return steps.silenced()
        steps.active[steps.level_db <= _SILENT_DB] = 0.0
        return steps


def _sparse_peak_db(log_mel: Tensor) -> Tensor:
    """Return the level of the loud parts in dB, `[]`, however few and far between they are."""
    last = max(0, len(log_mel) - _PEAK_ROWS)
    starts = [*range(0, last, _PEAK_ROWS // 2), last]
    loudest = torch.stack([peak_level_db(log_mel[n : n + _PEAK_ROWS]) for n in starts]).amax()
    return torch.maximum(peak_level_db(log_mel), loudest - _BELOW_LOUDEST_PEAK_DB)


class _ChangesSoFar:
    """The changes in the audio of a clip that has been processed so far.

    While `waits` is true, only one steady sound was heard: whether it is the background will be
    known when another sound begins, for which five minutes are waited at most.

    Args:
        clip: A clip with a waveform or log-mels.
        threshold: Lowest probability of a change.

    Raises:
        ClipError: If the clip has no audio in any form.
    """

    def __init__(self, clip: Clip, threshold: float) -> None:
        self.clip, self.threshold = clip, threshold
        self.rows = clip_mel_rows(clip)
        self.changes: list[FoundChange] = []
        self.seconds: list[float] = []
        self.states = [SILENT]
        self.waits = False
        self._loudest_db = _SILENT_DB
        self._frame_states: list[int] = []

    def add(self, window: Steps, first: int, start: int, stop: int, network: ChangeNetwork) -> None:
        """Add the changes from step `start` to before step `stop`.

        Args:
            window: Outputs of the network for the block and its context.
            first: The step that the window begins with.
            start: The first step of the block.
            stop: The step after its last one.
            network: The network, for its calibration.
        """
        found = find_changes(window, network, self.threshold)
        edges = [0.0, *(change.step for change in found), float(len(window))]
        self._loudest_db = max(self._loudest_db, window.loudest_db)
        silent = [self._is_silent(window, a, b) for a, b in pairwise(edges)]
        inside = [start <= change.step + first < stop for change in found]
        if start == 0:
            # A steady sound, e.g. of an engine, seems to be the background if nothing else sounds.
            self.waits = not found and bool(window.active.any())
            self.states = [SILENT if silent[0] and not self.waits else 0]
        elif self.waits:
            self.waits = not any(inside) and start * STEP_S < _LONGEST_WAIT_S
            self.states = [SILENT if silent[0] and any(inside) else 0]
        for change, is_quiet in compress(zip(found, silent[1:], strict=True), inside):
            state = SILENT if is_quiet else len(self.changes) + 1
            if state == SILENT == self.states[-1]:
                continue
            row = (change.step + first) * ROWS_PER_STEP + _FIRST_ROW
            self.changes.append(change)
            self.seconds.append(self.rows.seconds(row))
            self.states.append(state)

    def _is_silent(self, window: Steps, start: float, stop: float) -> bool:
        """Tell whether nothing sounds between two steps; what is as loud as the sources does."""
        highest_db = max(_SILENT_DB, self._loudest_db - _BELOW_LOUDEST_DB)
        is_loud = level_between(window, start, stop) > highest_db
        return is_silent(window, start, stop) and not is_loud

    def points(self, final: int) -> ControlPoints:
        """Return the control points, known for the first `final` frames."""
        spans = self.clip.spans[len(self._frame_states) : final].tolist()
        self._frame_states += cast(list[int], states_of_spans(self.seconds, spans, self.states))
        states = self._frame_states + self._frame_states[-1:] * (self.clip.num_frames - final)
        starts_s = segment_starts_s(self.seconds, self.clip, self.states, states)
        return ControlPoints.from_indices(
            change_frames(states),
            self.clip.num_frames,
            "change_detector",
            {"boundaries": self._boundaries(), "probs": self._probs(starts_s)},
            silent=torch.tensor([state == SILENT for state in states]),
            starts_s=starts_s,
        )

    def _boundaries(self) -> list[dict[str, float | str]]:
        return [
            {
                "second": round(second, 3),
                "rule": "onset" if a == SILENT else "offset" if b == SILENT else "change",
                "score": round(change.prob, 3),
            }
            for second, change, (a, b) in zip(
                self.seconds, self.changes, pairwise(self.states), strict=True
            )
        ]

    def _probs(self, starts_s: list[float]) -> list[float]:
        """Return for each segment the probability of the boundary nearest to its start."""
        probs = [1.0]
        for start_s in starts_s[1:]:
            nearest = min(range(len(self.seconds)), key=lambda n: abs(self.seconds[n] - start_s))
            probs.append(round(self.changes[nearest].prob, 3))
        return probs

"""The audio on both sides of the start of each frame, compared."""

import torch
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import (
    AVSBENCH_INSTANT_S,
    EXAMPLE_FRAMES,
    EXAMPLE_LEAD_S,
    HOP,
    SAMPLE_RATE,
    SILENCE,
    WINDOW,
    log_mel,
    log_mel_at,
)
from coprop_plugin.control_points.listening.features import (
    consecutive_similarity,
    embedded,
)
from coprop_plugin.control_points.listening.mel_rows import waveform_around
from coprop_plugin.types import Clip

REACH_S = 0.976
"""Within which distance of a change both sides of a frame's start differ."""

# Rows of 10 ms that reach into the other side.
_OVERLAP_ROWS = WINDOW // HOP
_SIDE_ROWS = EXAMPLE_FRAMES - 2 * _OVERLAP_ROWS
# Fewer rows on one side tell nothing about a change.
_LEAST_ROWS = EXAMPLE_FRAMES // 4


def compare_sides(clip: Clip, vggish: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """Compare the audio just before the start of each frame but the first with that just after.

    Each side is about as long as a VGGish example (0.975 s), and lies within the waveform. At one
    frame a second this compares consecutive frames; at higher rates a change is found where it
    is, and not by windows that trail behind it.

    Args:
        clip: A clip with a waveform.
        vggish: As in `frame_features`.

    Returns:
        `[T - 1]`, the cosine similarity of the two sides, and `[T - 1]`, the distance between
        them; 1 and 0 too near to the ends of the audio.

    Raises:
        ClipError: If the clip has no waveform.

    Example:
        >>> clip = Clip(torch.rand(3, 3, 8, 8), torch.zeros(48_000), times=[0.0, 1.0, 2.0])
        >>> compare_sides(clip)[0].tolist()
        [1.0, 1.0]
    """
    starts_s = clip.spans[1:, 0]
    if vggish is None:
        before, after = _mean_log_mels(clip, starts_s)
    else:
        before, after = _embeddings(clip, starts_s, vggish)
    pairs = torch.stack([before, after], dim=1)
    similarity = torch.tensor([float(consecutive_similarity(pair)) for pair in pairs])
    return similarity, (after - before).norm(dim=1)


def _mean_log_mels(clip: Clip, starts_s: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean log-mels before and after some times, `[K, 64]`, as in `frame_features`."""
    waveform, first_s = waveform_around(clip)
    rows = log_mel(waveform, clip.sample_rate).double()
    sums = torch.cat([rows.new_zeros(1, rows.shape[1]), rows.cumsum(0)])
    middle = ((starts_s - first_s) * SAMPLE_RATE / HOP).round().long().clamp(0, len(rows))

    def mean(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        first, last = first.clamp_min(0), last.clamp(0, len(rows))
        count = (last - first).clamp_min(0)
        total = sums[last] - sums[first.minimum(last)]
        return (total / count.clamp_min(1)[:, None] - SILENCE).clamp_min(0).float(), count

    before, num_before = mean(middle - _OVERLAP_ROWS - _SIDE_ROWS, middle - _OVERLAP_ROWS)
    after, num_after = mean(middle, middle + _SIDE_ROWS)
    known = (num_before.minimum(num_after) >= _LEAST_ROWS)[:, None]
    return before.where(known, after), after


def _embeddings(clip: Clip, starts_s: Tensor, vggish: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the embeddings before and after some times, `[K, 128]`, of audio within the clip."""
    # `waveform_around` refuses a clip without one.
    waveform, first_s = waveform_around(clip)
    last_s = first_s + len(waveform) / clip.sample_rate
    ends_s = torch.stack([starts_s, starts_s + AVSBENCH_INSTANT_S + EXAMPLE_LEAD_S])
    shortest_s = AVSBENCH_INSTANT_S + EXAMPLE_LEAD_S
    ends_s = ends_s.clamp_max(last_s).clamp_min(first_s + shortest_s) - first_s
    times = ends_s.flatten() - EXAMPLE_LEAD_S
    before, after = embedded(log_mel_at(waveform, clip.sample_rate, times), vggish).chunk(2)
    return before, after

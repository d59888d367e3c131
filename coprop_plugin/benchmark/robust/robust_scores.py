"""The scores of AVSBench-Robust: J, F and FPR under negative audio, and G-mIoU and G-F."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from coprop_plugin.benchmark.robust.robust_samples import CONDITIONS

NEGATIVE = CONDITIONS[1:]


def robust_scores(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the scores of clips under several conditions.

    Per condition, means over clips as in the authors' evaluation with one clip a batch: `M_J` and
    `M_F` against the masks of the clips' own sound, and `FPR`, the share of all pixels that are
    predicted as sounding, over all frames. `G-mIoU` and `G-F` join the clips' own sound and a
    negative condition; see `harmonic`. Names without a condition are means over the negative ones.

    Args:
        records: Records of `plug_and_play` with `audio`, `masks` and `painted`.

    Returns:
        Scores by name; empty without negative audio.

    Example:
        >>> def record(audio, j, painted):
        ...     return {"audio": audio, "masks": {"M_J": j, "M_F": j}, "painted": painted}
        >>> scores = robust_scores([record("original", 0.8, 0.3), record("silence", 0.2, 0.1)])
        >>> scores["FPR_silence"], round(scores["G-mIoU"], 6)
        (0.1, 0.8)
    """
    by_condition = {
        c: [r for r in records if r.get("audio", CONDITIONS[0]) == c] for c in CONDITIONS
    }
    own = by_condition[CONDITIONS[0]]
    scores: dict[str, float | None] = {}
    for condition in NEGATIVE:
        clips = by_condition[condition]
        if not clips:
            continue
        found = {name: _mean(clips, name) for name in ("M_J", "M_F")}
        scores |= {f"{name}_{condition}": score for name, score in found.items()}
        scores[f"FPR_{condition}"] = fmean(clip["painted"] for clip in clips)
        for name, known in (("G-mIoU", "M_J"), ("G-F", "M_F")):
            scores[f"{name}_{condition}"] = harmonic(_mean(own, known), found[known])
    present = [condition for condition in NEGATIVE if by_condition[condition]]
    for name in ("FPR", "G-mIoU", "G-F") if present else ():
        values = [scores[f"{name}_{condition}"] for condition in present]
        known_values = [value for value in values if value is not None]
        scores[name] = fmean(known_values) if len(known_values) == len(values) else None
    return scores


def harmonic(positive: float | None, negative: float | None) -> float | None:
    """Return the harmonic mean of a score and of what the score under negative audio lacks to 1.

    It is high only for a model that segments what sounds and nothing when the sound is of something
    else.

    Example:
        >>> harmonic(0.75, 0.75), harmonic(0.5, 0.0)
        (0.375, 0.6666666666666666)
    """
    if positive is None or negative is None:
        return None
    lacking = 1 - negative
    return 2 * positive * lacking / (positive + lacking) if positive + lacking else 0.0


def _mean(clips: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [clip["masks"].get(name) for clip in clips]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None

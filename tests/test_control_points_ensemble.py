"""Providers that call other providers: votes, and a gate before an expensive one."""

import itertools

import numpy as np
import pytest
import torch

from coprop_plugin.control_points import (
    EnsembleProvider,
    FlagsProvider,
    GateProvider,
    NoveltyProvider,
    count_votes,
    cut_out,
    find_audio_changes,
)
from coprop_plugin.errors import ControlPointError, UnknownNameError
from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.world import made_up_scene

SR = 16_000


def frames(*ballots, weights=None, tolerance=1, threshold=0.5):
    weights = weights or [1] * len(ballots)
    return [v.frame for v in count_votes(ballots, weights, tolerance, threshold)]


@pytest.mark.parametrize(
    ("ballots", "options", "chosen"),
    [
        ([[3], [3], [8]], {}, [3]),
        ([[3], [4], [8]], {}, [3]),  # within one frame; the earlier of two that are equal
        ([[3], [4], [5]], {}, [4]),  # the middle has all three
        ([[3], [5], [9]], {}, []),
        ([[3], [5], [9]], {"threshold": 0.0}, [3, 5, 9]),
        ([[3], [3]], {}, [3]),
        ([[3], []], {}, []),  # half is no majority
        ([[3], [4]], {"tolerance": 0}, []),
        ([[3], [8], [8]], {"weights": [5, 1, 1]}, [3]),
        ([[3], [4], [4]], {"weights": [3, 1, 1]}, [3]),  # the heavier one decides the frame
        ([[3, 4], [3]], {}, [3]),  # one point of the second supports only one frame
        ([[3, 5], [4]], {}, [3]),
        ([[], []], {}, []),
    ],
)
def test_votes_are_counted(ballots, options, chosen):
    assert frames(*ballots, **options) == chosen


def test_every_chosen_frame_is_one_of_a_voter_and_votes_count_once():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ballots = [
            sorted(set(rng.integers(1, 30, rng.integers(0, 8)).tolist()))
            for _ in range(rng.integers(2, 6))
        ]
        weights = rng.uniform(0.1, 2, len(ballots)).tolist()
        verdicts = count_votes(ballots, weights, int(rng.integers(0, 3)), rng.choice([0, 0.3, 0.5]))
        chosen = [v.frame for v in verdicts]
        assert chosen == sorted(set(chosen))
        assert set(chosen) <= set(itertools.chain(*ballots))
        for voter, ballot in enumerate(ballots):
            assert sum(voter in v.voters for v in verdicts) <= len(ballot)


def test_any_vote_counts_at_threshold_0_and_all_agree_with_themselves():
    rng = np.random.default_rng(1)
    for _ in range(50):
        ballot = sorted(set(rng.integers(1, 40, 6).tolist()))
        other = sorted(set(rng.integers(1, 40, 6).tolist()))
        assert frames(ballot, ballot, ballot, tolerance=2) == ballot
        assert frames(ballot, other, tolerance=0, threshold=0.0) == sorted({*ballot, *other})


def test_an_ensemble_is_built_from_a_config_and_logs_the_votes(clip):
    ensemble = build(
        PROVIDERS,
        dict(
            type="ensemble",
            providers=["novelty", dict(type="every_n", n=4), "cosine"],
            threshold=0.9,
        ),
    )
    points = ensemble.propose(clip)
    # Changes at 2, 4 and 5 s, four frames per second; every_n has 4, 8, 12, 16, 20.
    assert points.indices == [0, 16, 20]
    assert [m["source"] for m in points.log["members"]] == ["novelty", "every_n", "cosine"]
    assert all({0, 1} <= set(vote["voters"]) for vote in points.log["votes"])
    assert points.silent.nonzero().flatten().tolist() == list(range(16, 20))
    # A segment is silent only if all of it is.
    flags = FlagsProvider([1] + [0] * 23)
    assert EnsembleProvider(["novelty", flags]).propose(clip).silent.sum() == 0


def test_ensembles_that_cannot_vote_are_refused(clip):
    with pytest.raises(
        ControlPointError, match="two or more providers.*got 1 providers and 1 weights"
    ):
        EnsembleProvider(["novelty"])
    with pytest.raises(ControlPointError, match="one weight each"):
        EnsembleProvider(["novelty", "cosine"], weights=[1])
    with pytest.raises(ControlPointError, match="not all 0"):
        EnsembleProvider(["novelty", "cosine"], weights=[0, 0])
    with pytest.raises(ControlPointError, match="0 or more whole frames, got 0.5"):
        EnsembleProvider(["novelty", "cosine"], tolerance=0.5)
    with pytest.raises(UnknownNameError, match="'novel'"):
        EnsembleProvider(["novelty", "novel"])
    with pytest.raises(ControlPointError, match="for the 24 frames of the clip, got 2"):
        EnsembleProvider(["novelty", [1, 0]]).propose(clip)


class Asked:
    """An expensive provider with given control points; it records the clips of its calls."""

    def __init__(self, frames=()):
        self.frames, self.clips = frames, []

    def propose(self, clip):
        self.clips.append(clip)
        indices = [0, *(f for f in self.frames if 0 < f < clip.num_frames)]
        return ControlPoints.from_indices(indices, clip.num_frames, "asked")


def world_clip(seed, fps=8):
    scene = made_up_scene(seed, (16, 16))
    times = torch.arange(10 * fps, dtype=torch.float64) / fps
    return Clip(torch.zeros(len(times), 3, 2, 2), scene.waveform(), SR, times)


@pytest.fixture(scope="module")
def uncertain_clip():
    """A clip in which novelty has an uncertain change, on a frame after the first."""
    for seed in range(2000, 2100):
        clip = world_clip(seed)
        changes = find_audio_changes(clip, least_score=1 / 1.5)
        scores = [b.score for b in changes.boundaries]
        if any(1 / 1.5 <= score < 1.5 for score in scores) and any(s >= 1.5 for s in scores):
            return clip
    raise AssertionError("no scene in which novelty is undecided")


def test_where_novelty_is_certain_the_expensive_provider_is_not_called(clip):
    expensive = Asked([3])
    points = GateProvider(expensive, margin=1.5).propose(clip)
    assert expensive.clips == []
    assert points == NoveltyProvider().propose(clip)
    assert torch.equal(points.silent, NoveltyProvider().propose(clip).silent)
    assert (points.log["saved"], points.log["calls"]) == (1.0, 0)


def test_a_margin_of_1_is_novelty_alone():
    for seed in (2000, 2003, 2011):
        clip = world_clip(seed)
        assert GateProvider(Asked(), margin=1).propose(clip) == NoveltyProvider().propose(clip)


def test_uncertain_changes_are_kept_if_the_expensive_provider_confirms_them(uncertain_clip):
    deny = GateProvider(Asked()).propose(uncertain_clip)
    rows = [row for row in deny.log["boundaries"] if not row["decided"]]
    assert rows
    assert not any(row["kept"] for row in rows)
    assert all(row["score"] >= 1.5 for row in deny.log["boundaries"] if row["decided"])
    everywhere = GateProvider(dict(type="every_n", n=1)).propose(uncertain_clip)
    assert all(row["kept"] for row in everywhere.log["boundaries"])
    assert set(deny.indices) < set(everywhere.indices)
    assert 0 <= deny.log["saved"] < 1
    assert deny.log["calls"] == len(deny.log["asked"]) >= 1


def test_the_expensive_provider_gets_only_the_clip_around_an_uncertain_change(uncertain_clip):
    expensive = Asked()
    points = GateProvider(expensive, around_s=0.5).propose(uncertain_clip)
    uncertain_s = [b["second"] for b in points.log["boundaries"] if not b["decided"]]
    frames = sum(clip.num_frames for clip in expensive.clips)
    assert frames <= len(uncertain_s) * 9
    assert points.log["saved"] == pytest.approx(1 - frames / 80, abs=1e-4)
    for clip, asked in zip(expensive.clips, points.log["asked"], strict=True):
        start = asked["frames"][0]
        assert len(clip.waveform) == clip.num_frames * SR // 8
        first = start * SR // 8
        assert torch.equal(
            clip.waveform, uncertain_clip.waveform[first : first + len(clip.waveform)]
        )
        assert float(clip.times[0]) == 0


def test_cut_out_keeps_the_spans_of_frames():
    waveform = torch.arange(5 * SR) / (5 * SR)
    for sampling in ("pts", "avsbench"):
        clip = Clip(
            torch.rand(5, 3, 4, 4), waveform, SR,
            None if sampling == "avsbench" else torch.arange(5.0) + 0.25,
            sampling=sampling, log_mel=torch.rand(5, 1, 96, 64), heard_at=torch.arange(5.0),
        )  # fmt: skip
        part = cut_out(clip, range(1, 4))
        start_s = float(clip.spans[1, 0])
        torch.testing.assert_close(part.spans, clip.spans[1:4] - start_s)
        torch.testing.assert_close(part.heard_at, clip.heard_at[1:4] - start_s)
        assert torch.equal(part.log_mel, clip.log_mel[1:4])
        assert len(part.waveform) == 3 * SR
        assert cut_out(clip, range(5)) is clip


def test_a_gate_works_from_embeddings_too():
    rows = torch.rand(10, 128, generator=torch.Generator().manual_seed(0))
    clip = Clip(torch.zeros(10, 3, 2, 2), audio_embedding=rows)
    points = GateProvider(Asked()).propose(clip)
    assert points.silent is None
    assert points.num_frames == 10


def test_gates_out_of_range_are_refused():
    with pytest.raises(ControlPointError, match="a margin of 1 or more"):
        GateProvider("cosine", margin=0.5)
    with pytest.raises(UnknownNameError, match="'nobody'"):
        GateProvider("nobody")

"""Comparing who finds control points, and errors at known rates."""

import numpy as np
import pytest
import torch

from coprop_plugin.benchmark import ErrorRates, NamedProvider, ScriptedListener, compare
from coprop_plugin.benchmark.compare_providers import COLUMNS
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.scripted_llm import with_errors
from coprop_plugin.control_points import FlagsProvider, as_provider, from_masks
from coprop_plugin.control_points.llm import CachedLLM, CallableAudioLLM
from coprop_plugin.errors import DatasetError, MetricError
from coprop_plugin.types import Clip, ControlPoints


def sample_of(classes, name="a", sound=None):
    """A sample in which `classes[t]`, a set, sounds in frame t, one a second."""
    masks = torch.zeros(len(classes), 4, 8, dtype=torch.long)
    for t, sounding in enumerate(classes):
        for c in sounding:
            masks[t, :, c] = c
    waveform = torch.zeros(len(classes) * 16_000) if sound is None else sound
    clip = Clip(torch.zeros(len(classes), 3, 4, 8), waveform, sampling="avsbench")
    labelled = torch.ones(len(classes), dtype=torch.bool)
    return Sample(name, clip, masks, labelled, 6, control_points=from_masks(masks))


def flags_of(number, flags):
    return NamedProvider(str(number), as_provider(flags))


def test_scores_are_those_of_points_and_of_masks_held_from_keyframes():
    sample = sample_of([{1}, {1}, {1, 2}, {1, 2}, {2}, set()])
    rows = compare(
        [
            flags_of(0, [1, 0, 1, 0, 1, 1]),
            flags_of(1, [1, 0, 0, 1, 1, 1]),  # the onset of 2 is heard a second late
            flags_of(2, [1, 1, 1, 1, 1, 1]),
            flags_of(3, [1, 0, 0, 0, 0, 0]),  # 2 is never heard
        ],
        [sample],
    )
    assert [row["F1@0"] for row in rows] == [1.0, 2 / 3, 0.75, 0.0]
    assert [row["F1@1"] for row in rows] == [1.0, 1.0, 0.75, 0.0]
    assert [row["onset_error_s"] for row in rows] == [0.0, 1.0, 0.0, None]
    assert [row["onset_missed"] for row in rows] == [0, 0, 0, 1]
    assert all(tuple(row) == COLUMNS for row in rows)


def test_clips_without_truth_are_left_out_and_none_at_all_is_refused():
    known, unknown = sample_of([{1}, set()], "known"), sample_of([{1}, set()], "unknown")
    object.__setattr__(unknown, "control_points", None)
    asked = []

    def provider(sample):
        asked.append(sample.id)
        return FlagsProvider(sample.control_points)

    [row] = compare([NamedProvider("truth", provider)], [unknown, known])
    assert (asked, row["F1@0"]) == (["known"], 1.0)
    with pytest.raises(DatasetError, match="clips with known control points, got none"):
        compare([NamedProvider("truth", provider)], [unknown])


class Asking:
    """Asks one question a clip."""

    def __init__(self, llm):
        self.llm = llm

    def propose(self, clip):
        self.llm.chat([{"role": "user", "content": "?"}], clip.waveform, clip.sample_rate)
        return ControlPoints([1] + [0] * (clip.num_frames - 1))


def test_calls_are_what_reaches_the_model(tmp_path):
    def llm():
        return CallableAudioLLM(lambda *_: "yes", model_id="yes")

    samples = [sample_of([{1}], str(n), torch.full((16_000,), n / 10)) for n in range(3)]
    kept = Asking(CachedLLM(llm(), tmp_path))
    kept.propose(samples[0].clip)
    made_each_time = NamedProvider("made", lambda sample: Asking(llm()))
    gate = NamedProvider(
        "ensemble", as_provider(dict(type="ensemble", providers=[Asking(llm())] * 2))
    )
    rows = compare(
        [NamedProvider("kept", kept), NamedProvider("asking", Asking(llm())), made_each_time, gate],
        samples,
    )
    assert [row["calls"] for row in rows] == [2, 3, 3, 6]


def test_error_rates_are_what_they_say():
    rng = np.random.default_rng(0)
    flags = [1, *([0, 0, 0, 0, 1] * 400)]
    true = {t for t, flag in enumerate(flags) if flag and t}

    def said(**rates):
        drawn = with_errors(flags, ErrorRates(**rates), rng)
        assert (drawn[0], len(drawn), set(drawn)) == (1, len(flags), {0, 1})
        return {t for t, flag in enumerate(drawn) if flag and t}

    assert said() == true
    assert said(misses=1.0) == set()
    kept = said(misses=0.25)
    assert kept < true
    assert len(kept) == pytest.approx(300, abs=30)
    more = said(extras=0.25)
    assert true < more
    assert len(more - true) == 100
    moved = said(shifts=0.5, by=2)
    assert len(moved) == len(true)
    assert len(moved - true) == pytest.approx(200, abs=30)
    assert all(min(abs(t - s) for s in true) == 2 for t in moved - true)


def test_errors_stay_within_the_clip_and_come_back_with_the_seed():
    for seed in range(200):
        flags = [1, *np.random.default_rng(seed).integers(0, 2, 6).tolist()]
        rates = ErrorRates(0.5, 1.0, 1.0, by=3)
        first, second = (with_errors(flags, rates, np.random.default_rng(seed)) for _ in range(2))
        assert first == second
        assert (len(first), first[0]) == (7, 1)
    with pytest.raises(MetricError, match="rates from 0 to 1"):
        ErrorRates(misses=1.5)
    with pytest.raises(MetricError, match="1 or more"):
        ErrorRates(by=0)


def test_a_scripted_model_finds_the_truth_through_the_real_provider():
    classes = [{1}, {1}, {2}, {2}, {2}, set(), {1}, {1}]
    sound = 0.1 * torch.randn(8 * 16_000, generator=torch.Generator().manual_seed(0))
    sample = sample_of(classes, sound=sound)
    for strategy in ("one_step", "three_step"):
        llm = CallableAudioLLM(ScriptedListener([1, 0, 1, 0, 0, 1, 1, 0]), model_id="scripted")
        provider = as_provider(dict(type=strategy, llm=llm, fallback=None))
        assert provider.propose(sample.clip).indices == [0, 2, 5, 6]

"""Novelty: changes, onsets and offsets of synthetic sounds, at any level and frame rate."""

import io
import json

import numpy as np
import pytest
import torch
from make_sounds import (
    SOURCES,
    SR,
    chirp,
    clip_of,
    during,
    engine,
    horn,
    make,
    noise,
    scene,
    speech,
)

from coprop_plugin.audio.log_mel import log_mel_at, log_mel_examples
from coprop_plugin.control_points import NoveltyProvider
from coprop_plugin.control_points.listening import (
    clip_mel_rows,
    find_change_points,
    find_sound,
)
from coprop_plugin.control_points.silent_segments import SilentSegments
from coprop_plugin.errors import ClipError
from coprop_plugin.types import Clip, ControlPoints


def indices_of(wave, **kwargs):
    return NoveltyProvider().propose(clip_of(wave, **kwargs)).indices


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_one_source_is_one_segment_even_if_its_level_changes(source):
    wave = make(source, 10, rng())
    assert indices_of(wave) == [0]
    wave[4 * SR : 7 * SR] *= 0.25
    assert indices_of(wave) == [0]


@pytest.mark.parametrize("fps", [None, 8])
@pytest.mark.parametrize("kind", ["digital silence", "steady noise", "clicks", "faint residue"])
def test_nothing_happens_gives_one_control_point(kind, fps):
    wave = np.zeros(5 * SR)
    if kind == "steady noise":
        wave = 0.1 * noise(5 * SR, rng(), 20, 7000)
    if kind == "faint residue":
        wave = 1e-5 * noise(5 * SR, rng(), 20, 7000)
    if kind == "clicks":
        wave[:: SR + 77] = 0.5
    assert indices_of(wave, fps=fps) == [0]
    assert indices_of(wave, num_frames=1) == [0]


def test_silence_begins_and_ends():
    wave = during(make(speech, 10, rng()), 3, 7)
    points = NoveltyProvider().propose(clip_of(wave))
    assert points.indices == [0, 3, 7]
    assert [b["rule"] for b in points.log["boundaries"]] == ["onset", "offset"]
    assert points.silent.tolist() == [True] * 3 + [False] * 4 + [True] * 3
    assert json.loads(json.dumps(points.log)) == points.log


def test_a_pause_shorter_than_half_a_second_is_no_change():
    wave = make(engine, 10, rng())
    for start_s in (2.0, 4.6, 7.3):
        wave[int(start_s * SR) : int((start_s + 0.45) * SR)] = 0
    assert indices_of(wave) == [0]
    assert indices_of(wave, fps=8) == [0]


def test_the_same_source_after_a_short_silence_is_no_change_where_no_frame_is_silent():
    wave = make(engine, 10, rng())
    wave[int(4.6 * SR) : int(5.48 * SR)] = 0
    assert indices_of(wave) == [0]
    assert indices_of(wave, fps=8) == [0, 37, 44]


@pytest.mark.parametrize("level", [1e-3, 0.1])
def test_level_does_not_matter(level):
    wave, _ = scene(1)
    assert indices_of(level * wave) == indices_of(wave)
    assert len(indices_of(wave)) > 1


def test_background_noise_does_not_matter():
    wave = during(make(speech, 10, rng()), 0, 4) + during(make(horn, 10, rng()), 4, 10)
    for sea in (0, 1e-3, 5e-3):
        assert indices_of(wave + sea * noise(10 * SR, rng(), 50, 1500)) == [0, 4]


def test_aac_does_not_matter():
    av = pytest.importorskip("av")
    wave = during(make(speech, 10, rng()), 0, 4) + during(make(chirp, 10, rng()), 4, 8)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=SR, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = SR
        container.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    with av.open(file) as container:
        pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    assert indices_of(np.concatenate(pieces)[: 10 * SR]) == indices_of(wave) == [0, 4, 8]


@pytest.mark.parametrize("seed", [1, 2, 3, 5])
def test_a_clip_that_starts_later_has_its_control_points_earlier(seed):
    wave, _ = scene(seed)
    lead = wave[: 2 * SR][::-1]
    assert indices_of(np.concatenate([lead, wave]))[1:] == [t + 2 for t in indices_of(wave)[1:]]


def test_a_long_sound_has_the_control_points_of_its_parts():
    scenes = [scene(seed) for seed in (1, 3, 5, 7, 9, 11, 13, 15)]
    wanted = {10 * i + t for i, (_, flags) in enumerate(scenes) for t in range(1, 10) if flags[t]}
    found = set(indices_of(np.concatenate([wave for wave, _ in scenes])))
    assert len(found & wanted) / len(wanted) >= 0.75
    steady = make(engine, 130, rng())
    assert indices_of(steady) == [0]


def test_where_the_sound_ends_before_the_video_there_is_silence():
    points = NoveltyProvider().propose(clip_of(make(engine, 3, rng()), num_frames=8))
    assert points.indices == [0, 3]
    assert points.silent.tolist() == [False] * 3 + [True] * 5


def test_sound_after_the_video_is_ignored():
    wave = during(make(engine, 30, rng()), 0, 4) + during(make(chirp, 30, rng()), 4, 30)
    assert indices_of(wave, num_frames=3) == [0]
    assert len(clip_mel_rows(clip_of(wave, num_frames=3))) < 900


def test_log_mels_alone_are_enough():
    wave = during(make(speech, 10, rng()), 0, 4) + during(make(horn, 10, rng()), 4, 10)
    clip = clip_of(wave)
    examples = log_mel_examples(clip.waveform, SR)[:10]
    drop_in = Clip(clip.frames, log_mel=examples, sampling="avsbench")
    assert NoveltyProvider().propose(drop_in).indices == [0, 4]
    dense = clip_of(wave, fps=8)
    overlapping = log_mel_at(dense.waveform, SR, dense.times)
    drop_in = Clip(dense.frames, times=dense.times, log_mel=overlapping)
    assert clip_mel_rows(drop_in).seconds(0) == pytest.approx(-0.125)
    [_, change] = NoveltyProvider().propose(drop_in).indices
    assert abs(change - 32) <= 1


def test_embeddings_alone_are_enough():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 128, generator=generator)
    rows = torch.stack([first] * 4 + [second] * 6) + 0.1 * torch.rand(10, 128, generator=generator)
    points = NoveltyProvider().propose(Clip(torch.zeros(10, 3, 2, 2), audio_embedding=rows))
    assert points.indices == [0, 4]
    assert points.silent is None
    for same in (torch.zeros(5, 128), torch.ones(1, 128), rows[:4]):
        clip = Clip(torch.zeros(len(same), 3, 2, 2), audio_embedding=same)
        assert NoveltyProvider().propose(clip).indices == [0]


def test_a_clip_without_audio_is_refused():
    with pytest.raises(ClipError, match=r"Expected a clip with audio.*control_points='every_n'"):
        NoveltyProvider().propose(Clip(torch.zeros(2, 3, 2, 2)))


def test_embeddings_with_nan_and_log_mels_of_another_shape_are_refused():
    frames = torch.zeros(2, 3, 2, 2)
    with pytest.raises(ClipError, match="NaN or infinite.*nan_to_num"):
        NoveltyProvider().propose(Clip(frames, audio_embedding=torch.full((2, 128), torch.nan)))
    with pytest.raises(ClipError, match=r"log_mel of shape \[2, 1, 96, 64\].*got \[2, 96, 64\]"):
        NoveltyProvider().propose(Clip(frames, log_mel=torch.zeros(2, 96, 64)))


@pytest.mark.parametrize("num_samples", [0, 1, 399, 400, 900])
def test_very_short_audio_is_accepted(num_samples):
    clip = Clip(torch.zeros(1, 3, 2, 2), torch.ones(num_samples) * 0.1, SR, torch.zeros(1))
    assert NoveltyProvider().propose(clip).indices == [0]


def test_one_distribution_has_no_change_points():
    rows = np.abs(rng().standard_normal((400, 16)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert find_change_points(rows, 25, 0.5) == []
    assert find_change_points(rows[:10], 25, 0.5) == []


def test_activity_of_a_background_is_silence_and_of_noise_alone_is_sound():
    steady = np.full((1000, 64), 0.05) * rng().uniform(0.8, 1.2, (1000, 64))
    assert find_sound(steady).mask.all()
    steady[300:600] += 5
    assert np.flatnonzero(np.diff(find_sound(steady).mask)).tolist() == [299, 599]


def test_minutes_of_nothing_but_the_background_are_silence_in_long_audio():
    seconds = 150
    spoken = during(make(speech, seconds, rng()), 5, 7) + during(make(horn, seconds, rng()), 30, 32)
    clip = clip_of(spoken + 0.002 * noise(seconds * SR, rng(), 100, 3000), fps=1)
    true = [int(second not in (5, 6, 30, 31)) for second in range(seconds)]
    assert NoveltyProvider().propose(clip).silent.int().tolist() == true
    given = ControlPoints.from_indices([0, 5, 7, 30, 32], seconds)
    assert SilentSegments(clip).mark(given).silent.int().tolist() == true
    steady = clip_of(make(engine, seconds, rng()), fps=1)
    assert not SilentSegments(steady).mark(given).silent.any()


def test_most_changes_of_synthetic_scenes_are_found_and_few_others():
    hits = proposed = true = 0
    for seed in range(24):
        wave, flags = scene(seed)
        found = set(indices_of(wave)[1:])
        wanted = {t for t, flag in enumerate(flags) if flag and t}
        hits, proposed, true = hits + len(found & wanted), proposed + len(found), true + len(wanted)
    assert hits / proposed > 0.85, (hits, proposed, true)
    assert 2 * hits / (proposed + true) > 0.8, (hits, proposed, true)

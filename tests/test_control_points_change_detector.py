"""The provider, its decoding and its network, with a stand-in and with the shipped weights."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from make_sounds import SR, bark, clip_of, during, engine, horn, make, noise, speech

from coprop_plugin.audio.log_mel import log_mel_at, log_mel_examples
from coprop_plugin.control_points import ChangeDetectorProvider, as_provider
from coprop_plugin.control_points.learned_changes import BLOCK_S, CONTEXT_S, WEIGHTS
from coprop_plugin.control_points.listening import (
    ChangeNetwork,
    NetworkOutputs,
    Steps,
    find_changes,
    load_change_network,
    save_change_network,
)
from coprop_plugin.errors import CheckpointError, ClipError, ControlPointError
from coprop_plugin.types import Clip
from coprop_plugin.world.splits import SPLITS, made_up_scene

TINY = dict(width=16, stem=(4, 4, 8), dilations=((1,), (2,)), scales=(2, 4), identity_width=8)


class SpectralNetwork(torch.nn.Module):
    """Stands in for a trained network: changes of the spectrum, from fixed features."""

    reach = 5

    def __init__(self):
        super().__init__()
        self.scale = torch.tensor([8.0, -4.0])
        self.calibration = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])

    def forward(self, log_mel, peak_db):
        rows = F.pad(log_mel, (0, 0, 0, -log_mel.shape[1] % 4), value=float(np.log(0.01)))
        mel = (rows.exp() - 0.01).clamp_min(0).unflatten(1, (-1, 4)).mean(2)
        # The constant gives silence a direction of its own.
        vectors = F.normalize(F.pad(mel, (0, 1), value=0.05), dim=-1)
        padded = F.pad(vectors.mT, (self.reach, self.reach), mode="replicate")
        means = F.avg_pool1d(padded, self.reach, 1)
        before, after = means[..., : len(mel[0])], means[..., self.reach :][..., : len(mel[0])]
        change = 1 - F.cosine_similarity(before, after, dim=1)
        return NetworkOutputs(30 * (change - 0.2), 20 * (mel.amax(-1) - 0.1), vectors)


@pytest.fixture(scope="module")
def provider():
    provider = ChangeDetectorProvider("stand-in.safetensors")
    provider.network = SpectralNetwork()
    return provider


def rng():
    return np.random.default_rng(0)


def two_sources(seconds, change_s):
    low, high = (0.2 * noise(seconds * SR, rng(), *band) for band in ((200, 900), (3000, 6000)))
    return during(low, -1, change_s) + during(high, change_s, seconds + 1)


def many_changes(seconds):
    return np.concatenate([two_sources(6, 3)] * (seconds // 6))


def test_the_shipped_weights_are_used_unless_others_are_named():
    assert as_provider("change_detector").weights == WEIGHTS
    assert WEIGHTS.stat().st_size < 5e6
    network = as_provider("change_detector").network
    assert network.calibration.tolist() != [0, 1, 0, 0, 0]
    assert network.reach_s < CONTEXT_S


@pytest.mark.parametrize(("fps", "points"), [(None, [0, 4, 7]), (8, [0, 32, 56])])
def test_the_shipped_weights_find_changes_and_silence(fps, points):
    wave = during(make(horn, 10, rng()), -1, 4) + during(make(speech, 10, rng()), 4, 7)
    found = as_provider("change_detector").propose(clip_of(wave, fps=fps))
    assert found.indices == pytest.approx(points, abs=0 if fps is None else 1)
    assert found.silent[-1]
    assert min(found.log["probs"]) >= 0.4


@pytest.mark.parametrize("source", [bark, horn, speech])
def test_the_shipped_weights_keep_a_source_that_pauses_in_one_segment(source):
    audio = make(source, 10, rng())
    wave = sum(during(audio, start, start + 0.8) for start in np.arange(0, 10, 1.2))
    assert as_provider("change_detector").propose(clip_of(wave, fps=8)).indices == [0]


@pytest.mark.parametrize("steady", [noise(10 * SR, rng(), 200, 900), make(engine, 10, rng())])
def test_a_steady_noise_is_a_source(steady):
    """Also where it sounds all along, unless it cannot be heard."""
    provider = as_provider("change_detector")
    some = provider.propose(clip_of(during(0.2 * steady, 3, 7)))
    assert (some.indices, some.silent.tolist()) == (
        [0, 3, 7],
        [True] * 3 + [False] * 4 + [True] * 3,
    )
    whole, faint = (provider.propose(clip_of(gain * steady)) for gain in (0.2, 1e-5))
    assert (whole.indices, faint.indices) == ([0], [0])
    assert not whole.silent.any()
    assert faint.silent.all()


def test_what_is_as_loud_as_the_sources_is_no_silence():
    scene = made_up_scene(SPLITS["val"][44], (16, 16), 10.0)
    clip = scene.clip(1.0, "avsbench")
    assert all(scene.prevailing(*span) for span in clip.spans.tolist())
    assert not as_provider("change_detector").propose(clip).silent.any()


@pytest.mark.parametrize(("seconds", "start_s"), [(12, 5), (75, 5), (75, 50)])
def test_the_background_of_a_short_sound_is_silence_however_long_it_is(seconds, start_s):
    background = 0.01 * noise(seconds * SR, rng(), 100, 3000)
    wave = background + during(make(bark, seconds, rng()), start_s, start_s + 2)
    clip = clip_of(wave, fps=4)
    parts = list(as_provider("change_detector").propose_ahead(clip))
    silent = parts[-1][0].silent.view(-1, 4).float().mean(1)
    sounding = slice(start_s, start_s + 2)
    assert not silent[sounding].round().any()
    silent[sounding] = 1
    assert silent.sum() > seconds - 1
    for points, known in parts:
        assert torch.equal(points.silent[:known], parts[-1][0].silent[:known])


def test_digital_silence_is_silent_however_short():
    points = as_provider("change_detector").propose(
        clip_of(during(make(horn, 4, rng()), 0.4, 5), fps=10)
    )
    assert points.indices == [0, 4]
    assert points.silent.tolist() == [True] * 4 + [False] * 36


def test_it_is_the_default():
    assert isinstance(as_provider(), ChangeDetectorProvider)


def test_options_are_checked():
    config = {"type": "change_detector", "weights": "w.safetensors", "threshold": 0.3}
    assert as_provider(config).threshold == 0.3
    for threshold in (0, 1, 2):
        with pytest.raises(ControlPointError, match=f"threshold={threshold}"):
            ChangeDetectorProvider("w.safetensors", threshold)


def test_missing_weights_are_reported(tmp_path):
    provider = ChangeDetectorProvider(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="missing.safetensors"):
        provider.propose(clip_of(two_sources(4, 2)))


@pytest.mark.parametrize("fps", [None, 8])
def test_silence_has_one_control_point(provider, fps):
    points = provider.propose(clip_of(np.zeros(6 * SR), fps=fps))
    assert points.indices == [0]
    assert points.silent.all()


def test_a_change_is_found_with_its_probability(provider):
    points = provider.propose(clip_of(two_sources(8, 4.4), fps=8))
    assert points.indices == [0, 35]
    assert points.starts_s[1].item() == pytest.approx(4.4, abs=0.05)
    first, second = points.log["probs"]
    assert first == 1
    assert 0.5 < second <= 1
    assert [b["rule"] for b in points.log["boundaries"]] == ["change"]
    assert json.loads(json.dumps(points.log)) == points.log
    assert points.source == "change_detector"


def test_silence_begins_and_ends(provider):
    points = provider.propose(clip_of(during(make(horn, 10, rng()), 3, 7)))
    assert points.indices == [0, 3, 7]
    assert points.silent.tolist() == [True] * 3 + [False] * 4 + [True] * 3
    assert [b["rule"] for b in points.log["boundaries"]] == ["onset", "offset"]


def test_a_stream_gets_the_points_of_a_whole_clip(provider):
    clip = clip_of(many_changes(96))
    *parts, (last, final) = provider.propose_ahead(clip)
    whole = provider.propose(clip)
    assert whole.indices == list(range(0, 96, 3))
    assert (last, final) == (whole, clip.num_frames)
    assert len(parts) >= 2
    for points, frames in parts:
        assert points.up_to(frames) == whole.up_to(frames)
        assert torch.equal(points.silent[:frames], whole.silent[:frames])


def test_distant_audio_does_not_matter(provider):
    wave = many_changes(96)
    other = wave.copy()
    other[int(2 * BLOCK_S + 2 * CONTEXT_S) * SR :] = 0
    kept = [[t for t in provider.propose(clip_of(w)).indices if t < BLOCK_S] for w in (wave, other)]
    assert kept[0] == kept[1]


def test_log_mels_are_enough(provider):
    clip = clip_of(two_sources(10, 4))
    examples = log_mel_examples(clip.waveform, SR)[:10]
    assert provider.propose(Clip(clip.frames, log_mel=examples, sampling="avsbench")).indices == [
        0,
        4,
    ]
    dense = clip_of(two_sources(10, 4), fps=8)
    overlapping = log_mel_at(dense.waveform, SR, dense.times)
    points = provider.propose(Clip(dense.frames, times=dense.times, log_mel=overlapping))
    assert len(points) == 2
    assert points.indices[1] == pytest.approx(32, abs=1)


def test_embeddings_are_left_to_novelty(provider):
    rows = torch.zeros(6, 128)
    rows[:3, 0] = rows[3:, 1] = 1
    points = provider.propose(Clip(torch.zeros(6, 3, 2, 2), audio_embedding=rows))
    assert (points.indices, points.source) == ([0, 3], "change_detector")


def test_a_clip_without_audio_is_refused(provider):
    with pytest.raises(ClipError, match="Expected a clip with audio"):
        provider.propose(Clip(torch.zeros(2, 3, 2, 2)))


@pytest.mark.parametrize("num_samples", [0, 1, 399, 400, 900])
def test_very_short_audio_is_accepted(num_samples):
    provider = ChangeDetectorProvider("untrained.safetensors")
    provider.network = ChangeNetwork(**TINY).eval()
    clip = Clip(torch.zeros(1, 3, 2, 2), torch.ones(num_samples) * 0.1, SR, torch.zeros(1))
    assert provider.propose(clip).indices == [0]


def steps_of(peaks, identity, active=1.0, length=100):
    change = np.full(length, 0.01)
    for step, prob in peaks.items():
        change[step] = prob
    return Steps(
        change, np.full(length, active), np.asarray(identity, dtype=float), np.zeros(length)
    )


def calibrated(*weights):
    network = ChangeNetwork(**TINY)
    network.calibration.copy_(torch.tensor(weights))
    return network


def test_a_peak_between_equal_sounds_is_removed():
    """The clues of a candidate depend on its neighbours, which are computed again."""
    same, other = np.eye(2)
    identity = np.array([same] * 60 + [other] * 40)
    steps = steps_of({30: 0.8, 60: 0.8}, identity)
    network = calibrated(-1.0, 0.5, 1.0, 0.0, 0.0)
    assert [change.peak for change in find_changes(steps, network)] == [60]
    assert [change.peak for change in find_changes(steps, network, 0.01)] == [30, 60]


@pytest.mark.parametrize(
    ("silence", "other_sources", "places"),
    [(15, False, []), (15, True, [40, 55]), (30, False, [40, 70])],
)
def test_a_short_silence_of_the_same_sources_is_a_pause(silence, other_sources, places):
    identity = np.eye(2)[[0] * 40 + [1] * silence + [int(other_sources)] * (100 - 40 - silence)]
    steps = steps_of({40: 0.9, 40 + silence: 0.9}, identity)
    steps.active[40 : 40 + silence] = 0.0
    network = calibrated(0.0, 1.0, 0.0, 0.0, 0.0)
    assert [change.peak for change in find_changes(steps, network)] == places


def test_weights_are_loaded_strictly(tmp_path):
    network = ChangeNetwork(**TINY)
    path = save_change_network(network, tmp_path / "w.safetensors")
    for name, value in load_change_network(path).state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    other = ChangeNetwork(**{**TINY, "width": 8})
    other.config = network.config
    with pytest.raises(CheckpointError, match="misshapen"):
        load_change_network(save_change_network(other, path))


def test_the_network_looks_no_further_than_it_says():
    torch.manual_seed(0)
    network = ChangeNetwork(**TINY).eval()
    rows = torch.randn(1, 400, 64)
    changed = rows.clone()
    changed[:, 300:] += 1
    first, second = (network(x, torch.zeros(1)).change[0] for x in (rows, changed))
    same = 75 - int(network.reach_s / 0.04) - 1
    torch.testing.assert_close(first[:same], second[:same])
    assert not torch.allclose(first, second)

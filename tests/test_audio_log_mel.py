import os
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import Golden
from fill import checksum

from coprop_plugin.audio.log_mel import (
    SILENCE,
    clip_log_mel,
    log_mel,
    log_mel_at,
    log_mel_examples,
    mel_matrix,
)
from coprop_plugin.errors import ClipError, ClipWarning
from coprop_plugin.types import Clip

GOLDEN = Golden(Path(__file__).parent / "golden" / "logmel.npz")
SAMPLE_RATES = {"resampled_44100": 44_100}
SYNTHETIC = ["mono_5s", "stereo_10s", "mono_15600", "mono_77040", "mono_77039", "resampled_44100"]


def golden_waveform(case):
    samples = GOLDEN.input(case, "waveform")
    if "waveform" in GOLDEN.meta["input_checksums"][case]:
        assert checksum(samples) == GOLDEN.meta["input_checksums"][case]["waveform"]
    waveform = samples.double() / 32768
    return waveform.mean(1) if waveform.ndim == 2 else waveform


def noise(seconds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(int(seconds * 16_000), generator=generator) - 0.5


def clip_of(waveform, num_frames, **kwargs):
    return Clip(torch.zeros(num_frames, 3, 4, 4), waveform, 16_000, **kwargs)


@pytest.mark.parametrize("case", SYNTHETIC)
def test_equals_upstream(case):
    examples = log_mel_examples(golden_waveform(case), SAMPLE_RATES.get(case, 16_000))
    assert examples.dtype == torch.float32
    assert GOLDEN.error(f"{case}/log_mel", examples) < GOLDEN.tolerance(f"{case}/log_mel")


def test_equals_upstream_on_a_real_clip():
    folder = Path(os.environ.get("COPROP_SHARED", "shared")) / "media"
    path = folder / GOLDEN.meta["inputs"]["media_s04_a"]["wav_file"]
    if not path.is_file():
        pytest.skip("COPROP_SHARED does not name a folder with media/")
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    examples = log_mel_examples(torch.from_numpy(samples.astype(np.float64)) / 32768, 16_000)
    key = "media_s04_a/log_mel"
    assert GOLDEN.error(key, examples) < GOLDEN.tolerance(key)


def test_mel_matrix_equals_upstream():
    assert GOLDEN.error("mel_matrix/weights", mel_matrix()) < 1e-6


@pytest.mark.parametrize(
    ("num_samples", "num_examples"),
    [(0, 0), (399, 0), (15_599, 0), (15_600, 1), (77_039, 4), (77_040, 5), (169_200, 11)],
)
def test_incomplete_examples_are_dropped(num_samples, num_examples):
    assert log_mel_examples(torch.zeros(num_samples), 16_000).shape == (num_examples, 1, 96, 64)


def test_log_mel_has_a_row_every_10_ms_and_drops_an_incomplete_window():
    assert log_mel(torch.zeros(400), 16_000).shape == (1, 64)
    assert log_mel(torch.zeros(559), 16_000).shape == (1, 64)
    assert log_mel(torch.zeros(560), 16_000).shape == (2, 64)
    assert torch.all(log_mel(torch.zeros(560), 16_000) == torch.tensor(SILENCE))


def test_long_sound_is_computed_in_pieces_that_fit_together():
    waveform = noise(130)
    start = 60 * 16_000 - 800
    pieces = log_mel(waveform[start : start + 32_000], 16_000)
    torch.testing.assert_close(log_mel(waveform, 16_000)[start // 160 :][: len(pieces)], pieces)


def test_the_first_avsbench_frame_gets_the_first_avsbench_example():
    waveform = noise(5)
    torch.testing.assert_close(
        log_mel_at(waveform, 16_000, [15 / 16]), log_mel_examples(waveform, 16_000)[:1]
    )


def test_log_mel_at_includes_what_ends_just_after_the_time():
    waveform = torch.zeros(5 * 16_000)
    waveform[2 * 16_000 : 2 * 16_000 + 400] = noise(0.025)
    heard = log_mel_at(waveform, 16_000, [1.9, 2.0, 2.5, 2.9, 3.1])
    assert [(row > SILENCE + 0.1).any().item() for row in heard] == [False, True, True, True, False]


def test_log_mel_at_pads_with_silence_at_both_ends():
    heard = log_mel_at(noise(2), 16_000, [-5.0, 0.0, 1.0, 2.5, 9.0])
    assert heard.shape == (5, 1, 96, 64)
    silent = torch.tensor(SILENCE)
    assert torch.all(heard[0] == silent)
    assert torch.all(heard[4] == silent)
    assert torch.all(heard[1, 0, :80] == silent)
    assert not torch.any(heard[2] == silent)
    assert torch.all(heard[3, 0, 60:] == silent)


def test_log_mel_at_takes_an_empty_waveform_and_no_times():
    assert torch.all(log_mel_at(torch.zeros(0), 16_000, [1.0]) == torch.tensor(SILENCE))
    assert log_mel_at(noise(1), 16_000, []).shape == (0, 1, 96, 64)


def test_many_times_are_computed_in_pieces_that_fit_together():
    waveform, times = noise(6), torch.arange(150) / 25
    together = log_mel_at(waveform, 16_000, times)
    alone = torch.cat([log_mel_at(waveform, 16_000, [t]) for t in times[[0, 61, 62, 63, 149]]])
    torch.testing.assert_close(together[[0, 61, 62, 63, 149]], alone)


def test_clip_log_mel_is_the_log_mel_of_the_clip_if_it_has_one():
    given = torch.rand(3, 1, 96, 64)
    assert torch.equal(clip_log_mel(clip_of(noise(3), 3, log_mel=given)), given)


def test_an_audio_window_elsewhere_is_computed_from_the_waveform_not_from_stored_log_mels():
    stored, heard_at = torch.rand(3, 1, 96, 64), torch.tensor([0.9375, 2.3, 2.9375]).double()
    waveform = noise(3)
    clip = clip_of(waveform, 3, sampling="avsbench", log_mel=stored, heard_at=heard_at)
    moved = log_mel_at(waveform, 16_000, [2.3])[0]
    torch.testing.assert_close(clip_log_mel(clip), torch.stack([stored[0], moved, stored[2]]))
    torch.testing.assert_close(clip_log_mel(clip, [1, 0]), torch.stack([moved, stored[0]]))
    torch.testing.assert_close(clip.log_mel, stored)


def test_stored_log_mels_without_a_waveform_are_used_with_a_warning():
    stored, heard_at = torch.rand(2, 1, 96, 64), torch.tensor([0.9375, 2.3]).double()
    clip = clip_of(None, 2, log_mel=stored, heard_at=heard_at)
    with pytest.warns(ClipWarning, match="Give the clip its waveform"):
        assert torch.equal(clip_log_mel(clip), stored)


def test_clip_log_mel_with_avsbench_sampling_is_avsbench():
    waveform = noise(10)
    examples = clip_log_mel(clip_of(waveform, 10, sampling="avsbench"))
    assert torch.equal(examples, log_mel_examples(waveform, 16_000)[:10])


def test_part_of_an_avsbench_clip_has_the_log_mels_of_the_whole():
    clip = clip_of(noise(12), 12, sampling="avsbench")
    assert torch.equal(clip_log_mel(clip[3:]), clip_log_mel(clip)[3:])
    assert torch.equal(clip_log_mel(clip[11:]), log_mel_at(clip.waveform, 16_000, clip.times[11:]))


def test_clip_log_mel_repeats_the_last_example_of_a_short_sound():
    waveform = noise(3)
    examples = clip_log_mel(clip_of(waveform, 5, sampling="avsbench"))
    assert torch.equal(examples, log_mel_examples(waveform, 16_000)[[0, 1, 2, 2, 2]])


@pytest.mark.parametrize("num_samples", [0, 1, 8000])
def test_clip_log_mel_fills_up_a_sound_shorter_than_one_example(num_samples):
    examples = clip_log_mel(clip_of(noise(1)[:num_samples], 2, sampling="avsbench"))
    assert examples.shape == (2, 1, 96, 64)
    assert torch.isfinite(examples).all()


def test_clip_log_mel_with_time_stamps_is_log_mel_at():
    waveform, times = noise(3), torch.tensor([0.0, 0.5, 1.7])
    examples = clip_log_mel(clip_of(waveform, 3, times=times))
    assert torch.equal(examples, log_mel_at(waveform, 16_000, times))


def test_a_clip_that_has_only_embeddings_is_refused():
    clip = clip_of(None, 2, audio_embedding=torch.zeros(2, 128))
    with pytest.raises(ClipError, match="waveform to compute log-mels from.*only audio_embedding"):
        clip_log_mel(clip)


def test_a_clip_without_sound_is_refused():
    with pytest.raises(ClipError, match=r"no audio at all.*Give the clip its waveform"):
        clip_log_mel(clip_of(None, 2))

"""AVSBench-Robust's protocol: the negative audio, its scores by independent code, its files."""

import json
import wave

import numpy as np
import pytest
import torch
from make_avsbench import make_avss, make_ms3, make_s4, table
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.benchmark import WorldOptions, WorldSamples
from coprop_plugin.benchmark.datasets import MS3, S4
from coprop_plugin.benchmark.plug_and_play import plug_and_play
from coprop_plugin.benchmark.robust import RobustSamples, off_screen_of, write_robust
from coprop_plugin.errors import DatasetError

TINY = WorldOptions(size=(16, 24), num_frames=3)
GROUPS = {
    "playing_piano": "music",
    "playing_violin": "music",
    "male_speech": "human",
    "dog_barking": "animal",
    "cat_meowing": "animal",
    "helicopter": "device",
}


@pytest.fixture(scope="module")
def ms3(tmp_path_factory):
    clips = {"a": ("test", "11111"), "b": ("test", "01110"), "c": ("test", "11011")}
    return make_ms3(tmp_path_factory.mktemp("robust") / "ms3", clips)


@pytest.fixture(scope="module")
def s4(tmp_path_factory):
    clips = {f"{name}_{i}": (name, "test") for name in GROUPS for i in range(2)}
    return make_s4(tmp_path_factory.mktemp("robust") / "s4", clips)


class Listens:
    """A backend that sees the red part of a frame, the more of it the louder the frame is."""

    num_classes, context = 1, "frame"

    def segment_keyframes(self, clip, indices):
        waveform = clip.waveform_at(16_000)
        second = [waveform[16_000 * int(clip.times[i]) :][:16_000] for i in indices]
        level = torch.stack([sound.abs().mean() for sound in second])[:, None, None, None]
        return 9 * (clip.rgb(indices)[:, :1] - 0.8) + 4 * level.sqrt()


def by_hand(samples):
    """M_J, M_F and FPR of `Listens` on clips, by loops over frames and thresholds."""
    js, fs, painted = [], [], []
    for sample in samples:
        logits = Listens().segment_keyframes(sample.clip, range(sample.num_frames))[:, 0]
        probs, truths = logits.sigmoid().double().numpy(), sample.masks.numpy()
        j, curves = [], []
        for prob, truth in zip(probs, truths, strict=True):
            mask = prob > 0.5
            painted.append(mask.sum() / mask.size)
            if not truth.any():
                j.append((~mask).sum() / mask.size)
                continue
            j.append((mask & (truth > 0)).sum() / (mask | (truth > 0)).sum())
            curve = []
            for threshold in np.linspace(0, 1 - 1e-10, 255):
                chosen = prob.astype(np.float32) >= np.float32(threshold)
                hits = (chosen & (truth > 0)).sum()
                precision, recall = hits / max(chosen.sum(), 1), hits / truth.sum()
                bottom = 0.3 * precision + recall
                curve.append(1.3 * precision * recall / bottom if bottom else 0.0)
            curves.append(curve)
        js.append(np.mean(j))
        fs.append(np.mean(curves, 0).max() if curves else 0.0)
    return np.mean(js), np.mean(fs), np.mean(painted)


def test_scores_are_those_that_loops_over_the_pixels_give(ms3):
    robust = RobustSamples(MS3(ms3, "test", log_mel="none"), seed=1)
    report = plug_and_play({"ms3": robust}, {"mine": Listens()}, ["bare"])
    found = report.scores("mine", "bare")
    by_condition = {c: [s for s in robust if s.audio == c] for c in ("original", "silence")}
    by_condition |= {c: [s for s in robust if s.audio == c] for c in ("noise", "off_screen")}
    own_j, own_f, _ = by_hand(by_condition.pop("original"))
    assert found["M_J"] == pytest.approx(own_j, abs=1e-6)
    assert found["M_F"] == pytest.approx(own_f, abs=1e-4)
    gs, fprs = [], []
    for condition, clips in by_condition.items():
        j, f, fpr = by_hand(clips)
        assert found[f"M_J_{condition}"] == pytest.approx(j, abs=1e-6)
        assert found[f"M_F_{condition}"] == pytest.approx(f, abs=1e-4)
        assert found[f"FPR_{condition}"] == pytest.approx(fpr, abs=1e-6)
        gs.append(2 / (1 / own_j + 1 / (1 - j)))
        fprs.append(fpr)
        assert found[f"G-mIoU_{condition}"] == pytest.approx(gs[-1], abs=1e-6)
        assert found[f"G-F_{condition}"] == pytest.approx(2 / (1 / own_f + 1 / (1 - f)), abs=1e-4)
    assert found["G-mIoU"] == pytest.approx(np.mean(gs), abs=1e-6)
    assert found["FPR"] == pytest.approx(np.mean(fprs), abs=1e-6)
    # It hears, so that noise paints more than silence.
    assert found["FPR_noise"] > found["FPR_silence"]


def test_the_other_scores_are_those_of_the_clips_own_audio(ms3):
    dataset = MS3(ms3, "test", log_mel="none")
    alone = plug_and_play({"ms3": dataset}, {"mine": Listens()}, ["bare"])
    report = plug_and_play({"ms3": RobustSamples(dataset)}, {"mine": Listens()}, ["bare"])
    timeless = {"seconds", "cpu_seconds", "peak_mb", "gpu_mb"}
    known = {n: s for n, s in alone.scores("mine", "bare").items() if n not in timeless}
    assert {n: report.scores("mine", "bare")[n] for n in known} == known
    assert report.results[0]["clips"] == 3


def test_a_seed_decides_the_sounds_whatever_the_other_clips_are(ms3):
    one, other = (RobustSamples(MS3(ms3, "test", log_mel="none"), seed) for seed in (1, 2))
    again = RobustSamples(MS3(ms3, "test", ids=["b", "c"], log_mel="none"), 1)
    noise = {s.id: s.clip.waveform for s in one if s.audio == "noise"}
    assert all(torch.equal(s.clip.waveform, noise[s.id]) for s in again if s.audio == "noise")
    assert not any(torch.equal(s.clip.waveform, noise[s.id]) for s in other if s.audio == "noise")
    assert 0.55 < float(noise["a noise"].square().mean().sqrt()) < 0.6  # of a uniform in [-1, 1]
    assert all(not s.clip.waveform.any() for s in one if s.audio == "silence")
    assert [s.id for s in one] == one.ids


def test_a_negative_clip_keeps_its_masks_and_loses_what_was_heard(ms3):
    own, *negative = (RobustSamples(MS3(ms3, "test"))[i] for i in range(4, 8))
    assert own.clip.log_mel is not None
    assert len(own.control_points) == 3
    for sample in negative:
        assert torch.equal(sample.masks, own.masks)
        assert torch.equal(sample.clip.frames, own.clip.frames)
        assert len(sample.clip.waveform) == len(own.clip.waveform)
        assert sample.clip.log_mel is None
        assert sample.control_points.indices == [0]


def test_off_screen_sounds_of_s4_are_of_other_groups(s4):
    too_like = {"music": "human", "human": "music", "animal": "human", "device": None}
    dataset = S4(s4, "test")
    drawn = set()
    for seed in range(12):
        sounds = off_screen_of(dataset, seed)
        for index, row in enumerate(dataset.rows):
            own = GROUPS[row.values["category"]]
            other = GROUPS[sounds.source(index).rsplit("_", 1)[0]]
            assert other not in (own, too_like[own])
            drawn.add((own, other))
    assert len(drawn) == 9  # every pair that is a contrast


def test_off_screen_sounds_of_ms3_follow_the_names_in_avss(ms3, tmp_path):
    clips = {name: (name, "v1m", "test", [1] * 5) for name in "abc"}
    avss = make_avss(tmp_path / "avss", clips)
    objects = {"a": "guitar_piano", "b": "man_guitar", "c": "dog"}
    header = ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"]
    rows = [[n, n, 0, 0, objects[n], "test", "v1m"] for n in clips]
    table(avss / "metadata.csv", header, rows)
    dataset = MS3(ms3, "test", avss_root=avss)
    sounds = off_screen_of(dataset, 0)
    # A dog is a contrast of music; the others have nothing but clips of another name.
    assert sounds.source(0) == "c"
    assert {off_screen_of(dataset, seed).source(2) for seed in range(9)} == {"a"}


def test_off_screen_sounds_of_scenes_are_of_kinds_that_they_lack():
    samples = WorldSamples(6, options=TINY)
    sounds = off_screen_of(samples, 3)
    for index, seed in enumerate(samples.seeds):
        donor = int(sounds.source(index).removeprefix("scene-"))
        here = {thing.kind for thing in samples.scene(seed).objects}
        assert not here & {o.kind for o in samples.scene(donor).objects if o.events}


def test_a_set_of_one_clip_has_no_off_screen_sound(ms3):
    with pytest.raises(DatasetError, match="two clips or more"):
        RobustSamples(MS3(ms3, "test", ids=["a"]))[3]
    with pytest.raises(DatasetError, match="only S4 and MS3"):
        RobustSamples(WorldSamples(1, options=TINY), folder=ms3)


def test_written_files_give_the_same_sounds_as_their_seed(ms3, tmp_path):
    dataset = MS3(ms3, "test", log_mel="none")
    out = write_robust(dataset, tmp_path / "out", seed=5)
    drawn, read = RobustSamples(dataset, 5), RobustSamples(dataset, folder=out)
    for one, other in zip(drawn, read, strict=True):
        torch.testing.assert_close(one.clip.waveform, other.clip.waveform, atol=1e-4, rtol=0)
    assert (out / "ms3_data/audio_wav_misaligned/test/a.wav").is_file()
    with wave.open(str(out / "silent.wav")) as file:
        assert file.getnframes() == 5 * file.getframerate()
    lines = (out / "off_screen.csv").read_text().splitlines()
    assert lines[1:] == [f"{n},{drawn.off_screen.source(i)}" for i, n in enumerate("abc")]
    with pytest.raises(DatasetError, match="another folder"):
        write_robust(dataset, ms3)


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_bench_scores_negative_audio_of_folders_and_worlds(ms3, tmp_path):
    (tmp_path / "red.py").write_text(
        "def red(frames, audio):\n    return 9 * (frames[:, :1] - 0.8)\n"
    )
    model = ("-b", f"{tmp_path}/red.py:red", "--quiet")
    bare = ("--rows", "bare")
    made = coprop("robust", ms3, "-o", tmp_path / "files", "--seed", 7)
    assert made.exit_code == 0, made.output
    for name, robust in (("drawn", 7), ("read", tmp_path / "files")):
        out = tmp_path / name
        done = coprop("bench", ms3, "--size", 16, *model, *bare, "--robust", robust, "-o", out)
        assert done.exit_code == 0, done.output
        assert "Negative audio" in done.stdout
    scores = [
        json.loads((tmp_path / n / "report.json").read_text())["results"][0]["mean"]
        for n in ("drawn", "read")
    ]
    assert scores[0]["FPR_noise"] == scores[1]["FPR_noise"] > 0
    world = ("--world", 1, "--frames", 2, "--size", "16x24", "--rows", "default")
    done = coprop("bench", *world, *model, "--robust", 42, "-o", tmp_path / "world")
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "world/report.json").read_text())
    assert content["about"]["settings"]["robust"] == 42
    default = next(r for r in content["results"] if (r["row"], r["part"]) == ("default", "all"))
    assert default["mean"]["FPR_silence"] == 0.0
    wrong = coprop("bench", *world, *model, "--robust", "seed", "-o", tmp_path / "no")
    assert wrong.exit_code == 2
    assert "Expected a seed" in wrong.stderr

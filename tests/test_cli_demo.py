"""`coprop demo`: photographs, a video of the user's, and the made-up world."""

import re

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.types import Clip
from coprop_plugin.world.filmed_photographs import SHOTS, filmed_photographs

PAGES = ("film_strip.png", "result/overlay.mp4", "result/masks/00000.png", "result/report.html")


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def marked(folder):
    """Return the share of each frame that is marked."""
    paths = sorted((folder / "result" / "masks").glob("*.png"))
    return [float((np.asarray(Image.open(path)) > 0).mean()) for path in paths]


def test_without_a_video_it_films_photographs_and_marks_what_sounds(tmp_path):
    done = coprop("demo", "-o", tmp_path / "demo", "--tiny", "--fps", 1)
    assert done.exit_code == 0, done.output
    assert "using sounding_object, a model of 1 million parameters" in done.stderr
    assert "a cat that purrs" in done.stdout
    for name in ("photographs.mp4", *PAGES):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    _, cat, cup, still_silent, _, rocket = marked(tmp_path / "demo")
    assert cat > 0.2
    assert cup == still_silent == 0
    assert 0.004 < rocket < 0.1


def test_a_video_of_the_user_is_marked(tmp_path):
    video = media.write_clip(filmed_photographs((64, 96), 10, pace=3), tmp_path / "mine.mp4")
    done = coprop("demo", video, "-o", tmp_path / "demo", "--fps", 2, "--quiet")
    assert done.exit_code == 0, done.output
    assert "sounding_object" not in done.stderr
    assert "something is marked in 4 of 8 frames" in done.stdout
    for name in PAGES:
        assert (tmp_path / "demo" / name).stat().st_size > 0


def _silent_video(path, seconds):
    times = torch.arange(2) * seconds / 2
    return media.write_clip(Clip(torch.zeros(2, 3, 16, 16), None, times=times), path)


def test_a_long_video_is_refused_with_what_to_do(tmp_path):
    done = coprop("demo", _silent_video(tmp_path / "long.mp4", 150.0), "-o", tmp_path / "demo")
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert re.search("Expected a video of up to 120 s, got .* with 150 s. Run `coprop run", said)


def test_of_a_video_without_sound_the_demo_says_that_nothing_is_marked(tmp_path):
    video = _silent_video(tmp_path / "silent.mp4", 2.0)
    done = coprop("demo", video, "-o", tmp_path / "demo", "--fps", 1, "--quiet")
    assert done.exit_code == 0, done.output
    assert "Nothing is marked in 2 frames: the video has no sound." in done.stdout


def test_the_world_has_known_truth(tmp_path):
    done = coprop("demo", "--world", "-o", tmp_path / "demo", "--tiny", "--quiet")
    assert done.exit_code == 0, done.output
    assert "model run on 24 of 24 frames" in done.stdout
    assert re.search(r"Co-Prop: +mean IoU 0\.\d{3}, aligned \d+%; model run on \d of", done.stdout)
    for name in ("made_up.mp4", *PAGES, "truth/00023.png"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    assert coprop("demo", "mine.mp4", "--world").exit_code == 2


def test_the_clip_of_photographs_is_the_same_every_time():
    clip, again = (filmed_photographs((32, 48), fps=5, pace=2) for _ in range(2))
    assert clip.num_frames == 30
    assert torch.equal(clip.frames, again.frames)
    assert torch.equal(clip.waveform, again.waveform)
    assert clip.waveform.abs().max() <= 1


def test_a_shot_is_silent_until_its_sound_starts():
    waveform = filmed_photographs((32, 48), fps=1).waveform
    start_s = 0.0
    for shot in SHOTS:
        first, last = (round(16_000 * (start_s + s)) for s in (shot.starts_s, shot.length_s))
        heard = waveform[first:last].square().mean().sqrt()
        assert waveform[round(16_000 * start_s) : first].eq(0).all()
        assert heard > 0.05 if shot.sound else heard == 0
        start_s += shot.length_s

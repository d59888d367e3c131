"""Training of the change detector, at toy size: mixtures, stage, calibration, commands."""

import json

import numpy as np
import pytest
import torch
from make_sound_folder import RATE, make_sound_folder, one_sound, write_listing, write_wav
from typer.testing import CliRunner

from coprop_plugin.benchmark import SoundScenes, WorldOptions
from coprop_plugin.cli import app
from coprop_plugin.control_points import ChangeDetectorProvider
from coprop_plugin.control_points.listening import Steps, load_change_network
from coprop_plugin.errors import DatasetError, DatasetWarning, TrainingError
from coprop_plugin.training import (
    ChangeDetectorTraining,
    SoundFolder,
    SoundMixtures,
    evaluate,
    train,
    with_sounds,
)
from coprop_plugin.training.change_calibration import calibrate
from coprop_plugin.training.change_dataset import targets
from coprop_plugin.training.mixture_variations import MixtureRows, through_microphone, varied
from coprop_plugin.training.sound_folder import equalised, split_of
from coprop_plugin.training.sound_mixtures import MixtureRenderer, Turn, merged_states

TINY = dict(width=16, stem=(4, 4, 8), dilations=((1,), (1,)), scales=(4, 12), identity_width=8)
LAYOUTS = ("single", "turns", "overlap", "rapid", "silence")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sound_folder(tmp_path_factory.mktemp("sounds"))


def tiny_config(folder, steps=6):
    config = with_sounds("change_detector", folder)
    config.model.network = TINY
    config.train_cfg.max_iters = steps
    config.default_hooks.checkpoint.interval = steps // 2
    config.train_dataloader.batch_size = 4
    config.train_dataloader.dataset.update(seconds=3.0)
    config.custom_hooks[1].dataset.update(seconds=3.0, length=6)
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.update(seconds=3.0, length=6)
    return config


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("run")
    return train(tiny_config(folder), work_dir)


def test_trained_weights_are_calibrated_scored_and_used(run, folder, tmp_path):
    network = load_change_network(run)
    assert network.calibration.tolist() != [0.0, 1.0, 0.0, 0.0, 0.0]
    scores = evaluate(tiny_config(folder), run, tmp_path)
    assert any("F1" in name for name in scores)
    clip = SoundScenes(folder, 1, options=WorldOptions((16, 16), 4))[0].clip
    points = ChangeDetectorProvider(run, threshold=0.2).propose(clip)
    assert points.num_frames == 4
    assert len(points.log["probs"]) == len(points)


def test_a_learning_curve_has_the_steps_of_its_scores(run):
    logs = run.parent.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows if "control_points/F1@1" in row] == [6]


def test_an_interrupted_run_ends_with_the_same_weights(run, folder, tmp_path):
    config = tiny_config(folder)
    config.custom_hooks[0].steps = 6
    train({**config.to_dict(), "train_cfg": {**config.train_cfg, "max_iters": 3}}, tmp_path)
    resumed = load_change_network(train(config, tmp_path, resume=True)).state_dict()
    for name, value in load_change_network(run).state_dict().items():
        torch.testing.assert_close(resumed[name], value, msg=name)


def test_training_lowers_the_loss(folder):
    items = [SoundMixtures(folder, seconds=3.0)[n] for n in range(8)]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    torch.manual_seed(0)
    stage = ChangeDetectorTraining(TINY)
    optimiser = torch.optim.Adam(stage.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = sum(stage(**batch).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_calibration_fits_probabilities_to_the_truth():
    """Half of the peaks are changes; only their identity vectors tell which."""

    class Recorded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([8.0, -4.0]))
            self.register_buffer("calibration", torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]))
            self.replies = iter(recordings)

        def forward(self, log_mel, peak_db):
            return next(self.replies)

    class Outputs:
        def __init__(self, is_change):
            self.change = torch.full((1, 80), -6.0)
            self.change[0, 40] = 1.0
            self.active = torch.full((1, 80), 5.0)
            self.identity = torch.eye(2)[[0] * 40 + [int(is_change)] * 40][None]

    recordings = [Outputs(number % 2) for number in range(20)]
    items = [
        {
            "log_mel": torch.zeros(320, 64),
            "boundaries": torch.tensor([40.0] if number % 2 else [], dtype=torch.float64),
        }
        for number in range(20)
    ]
    network = Recorded()
    weights = calibrate(network, items)
    assert weights[2] > 0
    assert network.calibration.tolist() == pytest.approx(weights, rel=1e-5)
    assert len(Steps.of(recordings[0], items[0]["log_mel"])) == 80


def test_an_item_depends_on_its_index_only(folder):
    whole, some = (SoundMixtures(folder, length=9000, repeats=2, seconds=2.0) for _ in range(2))
    before = [whole[index] for index in range(6)]
    for index in (5, 0, 3):
        item = some[index]
        assert all(torch.equal(before[index][name], item[name]) for name in item)
    # The same mixture, varied in another way.
    assert not torch.equal(whole[1024 + 3]["log_mel"], before[3]["log_mel"])


def sounding(band, start_s, stop_s):
    """Return a mixture of 4 s in which one band sounds for a part of the time."""
    mel = torch.zeros(400, 64)
    mel[round(100 * start_s) : round(100 * stop_s), band - 1 : band + 2] = 1.0
    return MixtureRows((mel + 0.01).log(), (Turn(0, start_s, stop_s),))


def test_the_turns_of_a_varied_mixture_say_what_is_heard():
    """Two mixtures in bands of their own: each is heard where its source has a turn."""
    shown = {"alone": 0, "both": 0, "cut": 0}
    for seed in range(60):
        first, second = sounding(10, 0.0, 2.5), sounding(40, 1.5, 4.0)
        mixture = varied(first, lambda second=second: second, np.random.default_rng(seed))
        mel = mixture.rows.exp() - 0.01
        if mel[:, 20:30].max() > 0.001:  # a steady noise, or a noisy microphone
            continue
        for source, band in ((0, 10), (1000, 40)):
            heard = mel[:, band - 3 : band + 4].max(dim=1).values > 0.01
            said = torch.zeros(400, dtype=torch.bool)
            for turn in mixture.turns:
                if turn.source == source:
                    said[round(100 * turn.start_s) : round(100 * turn.stop_s)] = True
            assert torch.equal(heard, said), seed
        stop_s, sources = mixture.turns[0].stop_s, len(mixture.turns)
        shown[
            "alone" if sources == 1 and stop_s == 2.5 else "both" if stop_s == 2.5 else "cut"
        ] += 1
    assert min(shown.values()) >= 3


def test_a_steady_noise_is_a_source_while_it_lasts():
    rises = []
    for seed in range(80):
        mixture = varied(
            sounding(10, 0.0, 4.0), lambda: sounding(10, 0.0, 4.0), np.random.default_rng(seed)
        )
        for turn in mixture.turns:
            if turn.source == 2000:
                level = mixture.rows[:, 30:].mean(dim=1)
                inside = torch.zeros(400, dtype=torch.bool)
                inside[round(100 * turn.start_s) + 40 : round(100 * turn.stop_s) - 40] = True
                outside = torch.ones(400, dtype=torch.bool)
                outside[max(0, round(100 * turn.start_s) - 40) : round(100 * turn.stop_s) + 40] = (
                    False
                )
                if inside.any() and outside.any():
                    rises.append(float(level[inside].mean() - level[outside].mean()))
    assert len(rises) >= 3
    assert min(rises) > 0.1


def test_a_crowded_mixture_is_joined_by_no_other():
    rows = torch.full((400, 64), -4.6)
    crowd = MixtureRows(rows, tuple(Turn(n, 0.5 * n, 0.5 * n + 0.5) for n in range(7)))
    for seed in range(20):
        mixture = varied(crowd, lambda: crowd, np.random.default_rng(seed))
        first = [turn.stop_s for turn in mixture.turns if turn.source < 1000]
        second = [turn.start_s for turn in mixture.turns if turn.source >= 1000]
        assert min(second, default=4.0) >= max(first)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_rendered_with_its_truth(folder, layout):
    render = MixtureRenderer(SoundFolder(folder), seconds=6.0)
    for index in range(6):
        mixture = render(index, layout)
        assert mixture.layout == layout
        assert len(mixture.waveform) == 6 * RATE
        assert np.abs(mixture.waveform).max() <= 1
        assert all(0 <= turn.start_s < turn.stop_s <= 6 for turn in mixture.turns)
        seconds = [second for second, _ in mixture.states()]
        assert seconds[0] == 0
        assert seconds == sorted(seconds)
        # A single source may be silent for so long, or so near an end, that it has stopped.
        sources = frozenset().union(*(state for _, state in mixture.states()))
        assert layout != "single" or sources == {0}


def test_no_source_is_in_two_splits(folder):
    names = [{s.name for s in SoundFolder(folder, split).sources} for split in ("train", "test")]
    assert all(names)
    assert not names[0] & names[1]
    shares = [split_of(f"source {n}") for n in range(2000)]
    assert 0.7 < shares.count("train") / 2000 < 0.78


def test_short_gaps_and_overlaps_are_merged():
    def of(*turns):
        return [(s, sorted(active)) for s, active in merged_states(turns, 9.0)]

    assert of(Turn(0, 0.1, 3), Turn(1, 3.3, 8.9)) == [(0.0, [0]), (3.3, [1])]
    assert of(Turn(0, 0, 3.2), Turn(1, 3, 9)) == [(0.0, [0]), (3.1, [1])]
    assert of(Turn(0, 0, 3), Turn(1, 4, 9)) == [(0.0, [0]), (3.0, []), (4.0, [1])]
    assert of(Turn(0, 0, 9), Turn(1, 4, 4.2)) == [(0.0, [0])]


def test_targets_mark_changes_and_states():
    change, state = targets([(0.0, frozenset()), (0.4175, frozenset({2}))], 20)
    assert change.argmax() == 10
    assert state.tolist() == [0] * 10 + [1] * 10


def test_silence_is_shortened_and_trimmed():
    sound = one_sound("tone", 3, 1.0).astype(np.float32)
    gap = np.zeros(2 * RATE, np.float32)
    kept = equalised(np.concatenate([gap, sound, gap, sound, gap]))
    assert 2.4 < len(kept) / RATE < 2.6
    assert len(equalised(gap)) == 0


def test_a_microphone_changes_the_sound_but_not_its_shape():
    rows = torch.rand(50, 64)
    other = through_microphone(rows, np.random.default_rng(0))
    assert (other.shape, other.dtype) == (rows.shape, rows.dtype)
    assert not torch.equal(other, rows)


def test_without_a_listing_each_file_is_a_source(tmp_path):
    (tmp_path / "dog").mkdir()
    for number in range(20):
        write_wav(tmp_path / "dog" / f"{number}.wav", one_sound("tone", number, 0.3))
    (tmp_path / "dog" / "broken.wav").write_bytes(b"no audio")
    with pytest.warns(DatasetWarning, match="broken.wav is left out"):
        sources = SoundFolder(tmp_path, "train").sources
    assert {source.kind for source in sources} == {"dog"}
    assert all(len(source.pieces) == 1 for source in sources)
    write_wav(tmp_path / "dog" / "new.wav", one_sound("tone", 1, 0.3))
    (tmp_path / "dog" / "broken.wav").unlink()
    splits = [SoundFolder(tmp_path, split).sources for split in ("train", "test")]
    assert {source.name for sources in splits for source in sources} > {s.name for s in sources}


def test_a_damaged_cache_is_decoded_again(folder, tmp_path):
    before = SoundFolder(folder, "val", tmp_path).sources
    (tmp_path / "index.json").write_text("[")
    assert SoundFolder(folder, "val", tmp_path).sources == before
    (tmp_path / "samples.i16").unlink()
    assert SoundFolder(folder, "val", tmp_path).sources == before


def test_wrong_data_is_refused(tmp_path, folder):
    with pytest.raises(DatasetError, match="does not exist"):
        SoundFolder(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="split='dev'"):
        SoundFolder(folder, "dev")
    with pytest.raises(DatasetError, match="found none"):
        SoundFolder(tmp_path)
    with pytest.raises(DatasetError, match="--sounds FOLDER"):
        SoundMixtures()
    with pytest.raises(DatasetError, match="seconds=1"):
        SoundMixtures(folder, seconds=1.0)
    with pytest.raises(TrainingError, match="Leave --sounds out"):
        with_sounds("world_keyframes_small", folder)
    write_listing(tmp_path, [("a.wav",)], ["name"])
    with pytest.raises(DatasetError, match="the columns file and source"):
        SoundFolder(tmp_path)
    write_listing(tmp_path, [("a.wav", "a", "", "dev")])
    with pytest.raises(DatasetError, match="got 'dev'"):
        SoundFolder(tmp_path)


def test_the_test_set_is_fixed_and_its_masks_follow_the_audio(folder):
    options = WorldOptions((32, 48), 40, 8.0, "pts")
    first, second = (SoundScenes(folder, 3, options=options) for _ in range(2))
    assert first.ids == ["mixture-0", "mixture-1", "mixture-2"]
    for index in range(3):
        one, other = first[index], second[index]
        assert torch.equal(one.clip.waveform, other.clip.waveform)
        assert torch.equal(one.masks, other.masks)
        assert one.control_points == other.control_points
        states = first.mixture(index).states()
        seconds = [second for second, _ in states[1:]]
        starts = one.control_points.starts_s.tolist()[1:]
        # A change in the second half of a frame moves to the start of the next one.
        assert all(min(abs(s - start) for s in seconds) < 1 / 8 for start in starts)
    assert not torch.equal(first[0].clip.waveform, SoundScenes(folder, 1, seed=1)[0].clip.waveform)


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_commands_take_a_folder_of_recordings(folder, run, tmp_path):
    config = tmp_path / "tiny.py"
    tiny = tiny_config(folder, steps=2)
    for part in (tiny.train_dataloader, tiny.test_dataloader, tiny.custom_hooks[1]):
        part.dataset.pop("folder")
    tiny.dump(config)
    done = command("train", config, "--work-dir", tmp_path / "work")
    assert done.exit_code == 2
    assert "--sounds FOLDER" in done.stderr
    done = command("train", config, "--work-dir", tmp_path / "new", "--sounds", folder)
    assert done.exit_code == 0, done.output
    weights = done.stdout.strip()
    assert weights == str(tmp_path / "new" / "weights.safetensors")
    arguments = ["--weights", weights, "--sounds", folder, "--work-dir", tmp_path / "eval"]
    done = command("evaluate", config, *arguments, "--json")
    assert done.exit_code == 0, done.output
    assert any("F1" in name for name in json.loads(done.stdout))
    provider = json.dumps({"type": "change_detector", "weights": weights})
    done = command(
        "anchor", "compare", "--sounds", folder, "--clips", 2, "--only", "-p", provider, "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["provider"] == "change_detector"


def test_bench_takes_a_folder_of_recordings(folder, tmp_path):
    options = ["--sounds", folder, "--clips", 1, "--seeds", 2, "--size", "32x48", "--frames", 6]
    rows = "oracle+hold+truth,change_detector+hold+truth"
    done = command("bench", *options, "--rows", rows, "-o", tmp_path, "--json", "-q")
    assert done.exit_code == 0, done.output
    results = [json.loads(line) for line in done.stdout.splitlines()]
    whole = {r["row"]: r["mean"] for r in results if r["part"] == "all"}
    assert set(whole) == set(rows.split(","))
    assert whole["oracle+hold+truth"]["recall@0"] == 1
    assert all(len(r["sets"]) == 2 for r in results if r["part"] == "all")
    done = command("bench", "--sounds", folder, "--world", 1, "-o", tmp_path)
    assert "--sounds with a folder" in " ".join(done.stderr.split())

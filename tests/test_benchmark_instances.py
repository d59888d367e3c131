"""AVISeg: its layout, its instances, and its measures."""

import json
import math
import tracemalloc
import wave

import make_tracks
import numpy as np
import pytest
import torch
from PIL import Image
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typer.testing import CliRunner

from coprop_plugin.benchmark.datasets import AVISeg, Sample, is_dataset, open_folder
from coprop_plugin.benchmark.metrics import VideoOverlaps, track_scores
from coprop_plugin.benchmark.plug_and_play import BenchLimits, plug_and_play
from coprop_plugin.cli import app
from coprop_plugin.control_points.providers import from_masks
from coprop_plugin.errors import DatasetError, MediaError, MetricError
from coprop_plugin.media.coco import mask_of_run_lengths, run_lengths
from coprop_plugin.types import Clip

HEIGHT, WIDTH, SECONDS = 12, 20, 4
# mAP, HOTA, DetA, AssA, FSLA and its parts in percent, as the script that was released with
# AVISeg prints them for `make_scenes(seed)` at 80 pixels a cell, every empty mask written out.
RELEASED = {
    1: (81.16, 8.7, 8.6, 8.81, 75.53, 0.0, 92.11, 44.21),
    2: (54.74, 5.05, 4.88, 5.26, 76.84, None, 71.26, 87.22),
    3: (32.91, 4.69, 3.55, 6.32, 0.0, 0.0, 0.0, 0.0),
    4: (68.95, 9.16, 8.63, 9.84, 59.74, None, 58.55, 64.47),
    5: (40.65, 6.09, 4.46, 8.36, 31.84, 0.0, 0.0, 35.38),
    6: (47.07, 7.27, 5.81, 9.28, 35.79, 0.0, 89.47, 29.82),
}


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def write_aviseg(root, seconds=SECONDS):
    """Two videos: a dog that falls silent after 2 s, and a dog beside a horse."""
    videos, annotations = [], []
    for number, name in enumerate(("street", "-farm_2"), 1):
        folder = root / "test" / "JPEGImages" / name
        folder.mkdir(parents=True)
        files = [f"{name}/{t:05d}.jpg" for t in range(seconds)]
        for file in files:
            Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 0, 0)).save(folder.parent / file)
        size = dict(height=HEIGHT, width=WIDTH)
        videos.append(dict(id=number, length=seconds, file_names=files, **size))
        (root / "test" / "WAVAudios").mkdir(exist_ok=True)
        with wave.open(str(root / "test" / "WAVAudios" / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(bytes(2 * 8_000 * seconds))
    dog = [rectangle(2, 1, 8, 7)] * 2 + [None] * (seconds - 2)
    horse = np.zeros((HEIGHT, WIDTH), dtype=bool)
    horse[3:9, 10:16] = True
    lengths = [run_lengths(horse)] * seconds
    for number, (video, class_id, segmentations) in enumerate(
        [(1, 1, dog), (2, 1, [rectangle(2, 1, 8, 7)] * seconds), (2, 2, lengths)], 1
    ):
        entry = dict(id=number, video_id=video, category_id=class_id, iscrowd=0)
        annotations.append(entry | dict(segmentations=segmentations))
    categories = [dict(id=1, name="dog"), dict(id=2, name="horse")]
    content = dict(videos=videos, annotations=annotations, categories=categories)
    (root / "test.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("seed", RELEASED)
def test_scores_are_those_of_the_released_script(seed):
    videos = []
    for scene in make_tracks.make_scenes(seed):
        video = VideoOverlaps(scene.truth, scene.predicted, scene.confidence)
        for t in range(make_tracks.FRAMES):
            masks = scene.masks(scene.true_boxes, t), scene.masks(scene.boxes, t)
            video.add(*masks, [True] * len(scene.predicted))
        videos.append(video)
    scores = list(track_scores(videos, num_classes=26).values())
    for score, released in zip(scores, RELEASED[seed], strict=True):
        assert (score is None) == (released is None)
        assert score is None or abs(100 * score - released) < 0.0051


def test_what_a_perfect_prediction_scores():
    video = VideoOverlaps([1, 2], [1, 2], [0.5, 0.9])
    for sounds in ([1, 0], [1, 1], [0, 0]):
        masks = torch.zeros(2, 4, 4)
        masks[0, :2], masks[1, 2:] = sounds[0], sounds[1]
        video.add(masks, masks)
    assert set(track_scores([video]).values()) == {1.0}


def test_hota_of_a_track_that_is_cut_in_two():
    """One instance, found under one number for 3 of 4 frames and under another for the last."""
    video = VideoOverlaps([1], [1, 1], [0.9, 0.9])
    for t in range(4):
        found = torch.zeros(2, 2, 2)
        found[t // 3] = 1
        video.add(torch.ones(1, 2, 2), found)
    scores = track_scores([video])
    assert scores["DetA"] == 1
    # Each frame counts with the share of its pair's frames in those of both tracks.
    assert math.isclose(scores["AssA"], (3 * 3 / 4 + 1 / 4) / 4)
    assert math.isclose(scores["HOTA"], math.sqrt(scores["AssA"]))


def test_masks_are_not_kept():
    video = VideoOverlaps([1], [1], [1.0])
    video.add(torch.ones(1, 300, 300), torch.ones(1, 300, 300))
    kept = [array for arrays in vars(video).values() for array in arrays if hasattr(array, "size")]
    assert sum(array.size for array in kept) < 10


def test_tracks_that_are_not_the_videos_are_refused():
    with pytest.raises(MetricError, match="one confidence for each of 2"):
        VideoOverlaps([1], [1, 1], [0.5])
    video = VideoOverlaps([1], [1], [0.5])
    with pytest.raises(MetricError, match=r"got \[2, 4, 4\]"):
        video.add(torch.zeros(2, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(MetricError, match="one size"):
        video.add(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))
    with pytest.raises(MetricError, match="frames"):
        track_scores([video])


def test_aviseg_is_recognised_and_read(tmp_path):
    root = write_aviseg(tmp_path)
    assert is_dataset(root)
    dataset = open_folder(root, "test", size=None)
    assert isinstance(dataset, AVISeg)
    assert dataset.classes == ("background", "dog", "horse")
    assert dataset.ids == ["street", "-farm_2"]
    assert not dataset.missing()
    street, farm = dataset[0], dataset[1]
    assert street.clip.times.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert street.masks[:, 4, 5].tolist() == [1, 1, 0, 0]
    assert street.control_points.indices == [0, 2]
    assert street.categories == ("dog",)
    assert farm.masks[0, 5, 12] == 2
    assert (farm.masks[0] == 2).sum() == 36
    assert open_folder(root, "test", size=8)[0].masks.shape == (SECONDS, 8, 8)
    assert AVISeg(root, split=None, ids=["-farm_2"]).ids == ["-farm_2"]


def test_polygons_have_the_pixels_of_pycocotools(tmp_path):
    mask_utils = pytest.importorskip("pycocotools.mask")
    root = write_aviseg(tmp_path)
    polygon = [3.0, 2.0, 15.0, 4.0, 11.0, 10.0, 4.0, 9.0]
    content = json.loads((root / "test.json").read_text())
    content["annotations"][0]["segmentations"] = [[polygon]] * SECONDS
    (root / "test.json").write_text(json.dumps(content))
    ours = AVISeg(root)[0].masks[0] == 1
    encoded = mask_utils.frPyObjects([polygon], HEIGHT, WIDTH)
    theirs = torch.from_numpy(mask_utils.decode(mask_utils.merge(encoded))) == 1
    # Up to pixels that the outline cuts.
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.85


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.pop("videos"), "does not hold instance tracks"),
        (lambda c: c["videos"][0].update(file_names=["../a/b.jpg"] * 4), "no plain names"),
        (lambda c: c["annotations"][0].update(segmentations=[None]), "another length"),
        (lambda c: c["annotations"][0].update(category_id=9), "without a name"),
        (lambda c: c["videos"][0].update(height=10**9), "exceeds the limit"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, says):
    root = write_aviseg(tmp_path)
    content = json.loads((root / "test.json").read_text())
    change(content)
    (root / "test.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=says):
        AVISeg(root)


def test_run_lengths_are_those_of_pycocotools():
    mask_utils = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    for _ in range(50):
        size = generator.integers(1, 40, 2)
        mask = generator.random(size) > generator.random()
        encoded = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
        text = dict(size=encoded["size"], counts=encoded["counts"].decode())
        assert (mask_of_run_lengths(text) == mask).all()


@pytest.mark.parametrize(
    "lengths",
    [
        {},
        dict(size=[2, 2], counts=[1]),
        dict(size=[2, 2], counts="o" * 30),
        dict(size=[2, 2], counts=[6, -2]),
        dict(size=[10**6, 10**6], counts=[10**12]),
    ],
)
def test_damaged_run_lengths_are_refused(lengths):
    with pytest.raises(MediaError):
        mask_of_run_lengths(lengths)


def test_the_command_scores_results(tmp_path):
    root = write_aviseg(tmp_path)
    truth = json.loads((root / "test.json").read_text())["annotations"]
    names = ("video_id", "category_id", "segmentations")
    results = [{n: entry[n] for n in names} | {"score": 0.9} for entry in truth]
    (tmp_path / "results.json").write_text(json.dumps(results))
    files = [str(tmp_path / "results.json"), str(root / "test.json")]
    done = CliRunner().invoke(app, ["tracks", *files, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["mAP"] == 1
    shown = CliRunner().invoke(app, ["tracks", *files])
    assert "HOTA           100.00" in shown.stdout
    results[0]["segmentations"] = [None]
    (tmp_path / "results.json").write_text(json.dumps(results))
    refused = CliRunner().invoke(app, ["tracks", *files])
    assert refused.exit_code == 2
    assert "4 frames of video 1 (street)" in refused.output


def test_bench_takes_the_folder(tmp_path):
    root = write_aviseg(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\nclass Left:\n    num_classes = 1\n\n"
        "    def segment_keyframes(self, clip, indices):\n"
        "        logits = torch.full((len(indices), 1, *clip.size), -9.0)\n"
        "        logits[..., : clip.size[1] // 2] = 9.0\n"
        "        return logits\n"
    )
    options = ["--backend", f"mine={tmp_path / 'mine.py'}:Left", "--rows", "bare,oracle+hold"]
    options += ["--size", "32", "-o", str(tmp_path / "out"), "-q"]
    done = CliRunner().invoke(app, ["bench", str(root), *options])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "AVISeg test" in json.dumps(report)


def test_long_videos_lie_in_files(tmp_path):
    held = []
    for seconds in (4, 24):
        root = write_aviseg(tmp_path / str(seconds), seconds)
        dataset = AVISeg(root, ids=["street"], in_memory=0)
        tracemalloc.start()
        sample = dataset[0]
        held.append(tracemalloc.get_traced_memory()[0] - sample.clip.waveform.nbytes)
        tracemalloc.stop()
        known = AVISeg(root, ids=["street"])[0]
        assert torch.equal(sample.masks, known.masks)
        assert torch.equal(sample.clip.frames, known.clip.frames)
    frame_bytes = sample.clip.frames[0].nbytes + sample.masks[0].nbytes
    assert held[1] - held[0] < 20 * frame_bytes / 4


class HeldBytes(TorchDispatchMode):
    """The most bytes of tensors made in it that were alive at once."""

    def __init__(self):
        super().__init__()
        self.most, self._alive = 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        returned = function(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tensors_in((args, kwargs))}
        self._alive = {k: v for k, v in self._alive.items() if not v[0].expired()}
        for tensor in tensors_in(returned):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given:
                made = StorageWeakRef(storage), storage.nbytes()
                self._alive.setdefault(storage.data_ptr(), made)
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return returned


def tensors_in(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class LeftHalf:
    def __init__(self, num_classes=1):
        self.num_classes = num_classes

    def segment_keyframes(self, clip, indices):
        logits = torch.full((len(indices), self.num_classes, *clip.size), -9.0)
        logits[:, -1, :, : clip.size[1] // 2] = 9.0
        return logits


def blinking(frames, side=48, num_classes=1):
    """A clip of a second; something on its left sounds in every third frame."""
    masks = torch.zeros(frames, side, side).long()
    masks[::3, :, : side // 3] = max(1, num_classes - 1)
    clip = Clip(
        torch.zeros(frames, 3, side, side, dtype=torch.uint8),
        torch.ones(16_000) / 2,
        times=torch.arange(frames) / 100,
    )
    points, labelled = from_masks(masks), torch.ones(frames).bool()
    return Sample("a", clip, masks, labelled, num_classes, control_points=points)


@pytest.mark.parametrize("row", ["bare", "oracle+hold", "oracle+hold+truth"])
def test_what_is_held_does_not_grow_with_the_video(row):
    side, lengths, most = 48, (34, 50), []
    limits = BenchLimits(piece_pixels=2 * side * side, kept_bytes=0)
    for frames in lengths:
        data = {"a": [blinking(frames, side)]}
        with HeldBytes() as held:
            report = plug_and_play(data, {"left": LeftHalf()}, [row], propagators={}, limits=limits)
        assert not report.failures
        most.append(held.most)
    # A mask is 2,304 bytes; times, control points and which classes sound are kept.
    assert most[1] - most[0] < 100 * (lengths[1] - lengths[0])


@pytest.mark.parametrize("num_classes", [1, 4])
def test_scores_of_pieces_are_those_of_the_whole(num_classes):
    data, backends = {"a": [blinking(7, 12, num_classes)]}, {"left": LeftHalf(num_classes)}
    reports = [
        plug_and_play(data, backends, ["bare", "oracle+hold"], propagators={}, limits=limits)
        for limits in (BenchLimits(), BenchLimits(piece_pixels=2 * 12 * 12, kept_bytes=0))
    ]
    for row in ("bare", "oracle+hold"):
        whole, pieces = (report.scores("left", row) for report in reports)
        for cost in ("seconds", "cpu_seconds", "peak_mb"):
            del whole[cost], pieces[cost]
        assert 0 < whole["M_J"] < 1
        # None is a score of nothing, e.g. of offsets where there are none.
        assert [n for n in whole if whole[n] is None] == [n for n in pieces if pieces[n] is None]
        known = {name: score for name, score in whole.items() if score is not None}
        assert {name: pieces[name] for name in known} == pytest.approx(known, abs=1e-12, rel=0)

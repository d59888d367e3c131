"""SAM 2, SAM 3 and EdgeTAM as propagators, against transformers' own use of the same models."""

import pytest
import torch
import transformers
from tiny_trackers import SAM3_SIDE, SIDE, save_tracker
from torch.nn.functional import interpolate

from coprop_plugin import Clip, CoProp
from coprop_plugin.errors import CheckpointError, PropagationError
from coprop_plugin.propagation import Sam2Propagator, as_propagator
from coprop_plugin.types import ABSENT_LOGIT

FAMILIES = ["sam2", "sam3", "edgetam"]
SIZE = (48, 64)
FRAMES = 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of each family that can be built here."""
    made = {}

    def folder(family):
        if family == "edgetam":
            pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
        if family not in made:
            made[family] = save_tracker(family, tmp_path_factory.mktemp(family))
        return str(made[family])

    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def tracker(request, folders):
    return as_propagator(f"{request.param}:{folders(request.param)}")


@pytest.fixture(scope="module")
def sam2(folders):
    return as_propagator(f"sam2:{folders('sam2')}")


@pytest.fixture(scope="module")
def frames():
    """Frames [T, B, 3, H, W] of two clips that drift."""
    generator = torch.Generator().manual_seed(0)
    still = torch.rand(1, 2, 3, *SIZE, generator=generator)
    return (still + torch.rand(FRAMES, 2, 3, *SIZE, generator=generator)) / 2


@pytest.fixture(scope="module")
def masks():
    """Three objects in each of two clips, [B, H, W]."""
    ids = torch.zeros(2, *SIZE, dtype=torch.long)
    for clip in range(2):
        for n in range(3):
            ids[clip, 4 + 10 * n : 24 + 8 * n, 2 + 20 * n : 16 + 20 * n + 2 * clip] = n + 1
    return ids


def carry(tracker, frames, masks, at_once=1):
    """Return logits [T - 1, B, 1 + n, H, W] and the memory after the last frame."""
    memory, rows = tracker.start(frames[0], None, masks), []
    for t, frame in enumerate(frames[1:]):
        if at_once > 1 and t % at_once == 0:
            tracker.look_ahead(memory, frames[1 + t : 1 + t + at_once], None)
        rows.append(tracker.step(memory, frame, None))
    return torch.stack(rows), memory


def by_transformers(tracker, frames, masks):
    """Return logits [T - 1, n, H, W] of one clip: the whole video at once, all of it kept."""
    model = tracker.model
    session_class = getattr(
        transformers, type(model).__name__.removesuffix("Model") + "InferenceSession"
    )
    session = session_class(video=tracker.pixels(frames), dtype=torch.float32)
    ids = masks.unique().tolist()[1:]
    for n in ids:
        side = (tracker.image_size,) * 2
        plane = interpolate((masks == n)[None, None].float(), side, mode="bilinear", antialias=True)
        session.add_mask_inputs(session.obj_id_to_idx(n), 0, (plane >= 0.5).float())
    session.obj_with_new_inputs = ids
    model(session, frame_idx=0)
    found = [out.pred_masks[:, 0] for out in model.propagate_in_video_iterator(session)]
    small = torch.stack(found[1:]).clamp(ABSENT_LOGIT, -ABSENT_LOGIT)
    return interpolate(small, SIZE, mode="bilinear")


def bytes_of(thing, seen=None):
    """Return the size of all tensors that an object holds, at any depth."""
    seen = set() if seen is None else seen
    if isinstance(thing, torch.Tensor):
        storage = thing.untyped_storage()
        fresh = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return storage.nbytes() * fresh
    if isinstance(thing, dict):
        thing = list(thing.values())
    elif hasattr(thing, "__dict__"):
        thing = list(vars(thing).values())
    return sum(bytes_of(x, seen) for x in thing) if isinstance(thing, list | tuple) else 0


def test_streamed_masks_are_those_of_the_whole_video_and_memory_is_flat(tracker, frames, masks):
    expected = by_transformers(tracker, frames[:, 0], masks[0])
    memory, sizes = tracker.start(frames[0, :1], None, masks[:1]), []
    for t in range(1, FRAMES):
        logits = tracker.step(memory, frames[t, :1], None)
        assert torch.equal(logits[0, 1:], expected[t - 1])
        sizes.append(bytes_of(memory))
    assert not logits.is_inference()
    assert not logits[:, 0].any()
    # The models look back 16 frames at most.
    assert sizes[3] < sizes[8]
    assert len(set(sizes[15:])) == 1
    assert 0.02 < (logits.argmax(1) > 0).float().mean() < 0.98
    assert not torch.equal(expected[-1] > 0, expected[0] > 0)


def test_two_clips_in_a_batch_are_the_same_as_one_by_one(tracker, frames, masks):
    few = frames[:4]
    both, memory = carry(tracker, few, masks)
    for n in range(2):
        alone, _ = carry(tracker, few[:, n : n + 1], masks[n : n + 1])
        torch.testing.assert_close(both[:, n : n + 1], alone, atol=1e-3, rtol=1e-3)
    rest = tracker.first(memory, 1)
    torch.testing.assert_close(
        tracker.step(rest, frames[4, :1], None),
        carry(tracker, frames[:5, :1], masks[:1])[0][-1],
        atol=1e-3,
        rtol=1e-3,
    )


def test_frames_encoded_ahead_are_the_same_as_one_by_one(sam2, frames, masks):
    encoded = []
    hook = sam2.model.vision_encoder.register_forward_pre_hook(
        lambda module, given: encoded.append(len(given[0]))
    )
    ahead, memory = carry(sam2, frames[:7], masks, at_once=3)
    hook.remove()
    assert encoded == [2, 6, 6]
    assert not memory.ahead
    one_by_one, _ = carry(sam2, frames[:7], masks)
    torch.testing.assert_close(ahead, one_by_one, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_masks(sam2, folders, frames, masks, dtype):
    half = Sam2Propagator(folders("sam2"), dtype=dtype)
    logits, _ = carry(half, frames[:4], masks)
    exact, _ = carry(sam2, frames[:4], masks)
    assert (half.model.dtype, logits.dtype) == (getattr(torch, dtype), torch.float32)
    assert (logits - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_an_object_that_is_not_in_the_picture_has_no_mask(tmp_path, frames, masks):
    tracker = as_propagator(save_tracker("sam2", tmp_path, score=-50.0))
    logits, _ = carry(tracker, frames[:3], masks)
    absent = torch.tensor(ABSENT_LOGIT).expand_as(logits[:, :, 1:])
    torch.testing.assert_close(logits[:, :, 1:], absent)
    assert not logits.argmax(2).any()


def test_without_objects_there_is_nothing_to_run(sam2, frames):
    logits, _ = carry(sam2, frames[:3], torch.zeros(2, *SIZE, dtype=torch.long))
    assert logits.shape == (2, 2, 1, *SIZE)
    assert not logits.any()


def test_bytes_are_the_same_frames(sam2, frames, masks):
    as_bytes = (frames[:3] * 255).round().byte()
    torch.testing.assert_close(
        carry(sam2, as_bytes, masks)[0], carry(sam2, as_bytes.float() / 255, masks)[0]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_smaller_frames_use_the_same_weights(family, folders, frames, masks):
    step, side = {"sam3": (14, SAM3_SIDE)}.get(family, (32, SIDE))
    config = dict(type=family, checkpoint=folders(family), image_size=side // 2)
    small = as_propagator(config)
    assert small.pixels(frames[0]).shape == (2, 3, side // 2, side // 2)
    logits, _ = carry(small, frames[:3], masks)
    assert logits.shape == (2, 2, 4, *SIZE)
    assert logits[:, :, 1:].std() > 0
    for size in (side + step, step - 1, 0):
        with pytest.raises(PropagationError, match=f"a multiple of {step} up to .* {side}, got"):
            as_propagator({**config, "image_size": size})


class Squares:
    """Marks class 7 from the start, and class 3 and 5 from frame 10 on."""

    num_classes = 12

    def segment_keyframes(self, clip, indices):
        logits = torch.full((len(indices), self.num_classes, *clip.size), -5.0)
        logits[:, 0] = 0.0
        for row, t in zip(logits, indices, strict=True):
            row[7, 5:25, 5:25] = 5.0
            if t >= 10:
                row[3, 30:45, 5:30], row[5, 10:40, 40:60] = 5.0, 5.0
        return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_objects_arrive_at_a_control_point(family, folders, frames):
    clip = Clip(frames[:, 0], torch.zeros(FRAMES * 16_000), 16_000)
    points = [t in (0, 10) for t in range(FRAMES)]
    found = [
        CoProp(
            Squares(),
            control_points=dict(type="flags", flags=points),
            propagator=f"{family}:{folders(family)}",
            silence="keep",
            reanchor=None,
            segment_batch=at_once,
        ).segment(clip)
        for at_once in (1, 3)
    ]
    masks = found[0].masks
    assert set(masks[:10].unique().tolist()) <= {0, 7}
    assert {3, 5} <= set(masks[10:].unique().tolist()) <= {0, 3, 5, 7}
    assert set(masks[11:].unique().tolist()) > {0}
    assert (masks == found[1].masks).float().mean() > 0.99


def test_a_checkpoint_is_given_in_many_ways(folders):
    folder = folders("sam2")
    for given in (f"sam2:{folder}", folder, dict(type="sam2", checkpoint=folder)):
        assert isinstance(as_propagator(given), Sam2Propagator)
    with pytest.raises(CheckpointError, match="of type sam3_video, .*Use propagator='sam2:"):
        as_propagator(f"sam3:{folder}")
    with pytest.raises(PropagationError, match="one of auto, float32"):
        Sam2Propagator(folder, dtype="int8")
    with pytest.raises(PropagationError, match="number of frames from 1, got 0"):
        Sam2Propagator(folder, encode_ahead=0)


def test_one_folder_serves_a_propagator_and_an_image_model(sam2, folders):
    image_model, report = transformers.Sam2Model.from_pretrained(
        folders("sam2"), output_loading_info=True
    )
    assert not report["missing_keys"] | report["mismatched_keys"]
    shared = dict(sam2.model.named_parameters())
    for name, parameter in image_model.named_parameters():
        assert torch.equal(parameter, shared[name]), name


@pytest.mark.parametrize("family", ["sam2", "sam3"])
def test_pixels_are_those_of_the_processor(family, folders, frames):
    pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    tracker = as_propagator(f"{family}:{folders(family)}")
    side, (mean, std) = tracker.image_size, tracker.normalisation
    side = dict(height=side, width=side)
    processor = transformers.Sam2ImageProcessorFast(size=side, image_mean=mean, image_std=std)
    as_bytes = (frames[:2, 0] * 255).round().byte()
    expected = processor(images=list(as_bytes), return_tensors="pt").pixel_values
    # The processor rounds to whole levels once more.
    torch.testing.assert_close(tracker.pixels(as_bytes), expected, atol=1 / 255 / 0.22, rtol=0)

"""Other dtypes and devices: the same masks, or an error that says what to do."""

import contextlib
import re
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from coprop_plugin import unwrap, wrap
from coprop_plugin.batch import make_model
from coprop_plugin.errors import AdapterError, DeviceError, TrainingError
from coprop_plugin.keyframes import load_keyframe_processor, load_sounding_object
from coprop_plugin.layers import CPUCopy, checked_device, to_device
from coprop_plugin.media import write_clip
from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.types import Clip, FrameResult

FRAMES, SIDE = 5, 48
TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)


class Bright(nn.Module):
    """Logits of what is bright; has weights, and so a dtype."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Conv2d(3, 1, 3, padding=1)
        nn.init.constant_(self.mean.weight, 8 / 27)
        nn.init.constant_(self.mean.bias, -4.0)

    def forward(self, frames, audio):
        return self.mean(frames) + 0 * audio.mean()


@pytest.fixture(scope="module")
def clip():
    """A bright disc that moves to the right, and a tone."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    discs = [((y - 24) ** 2 + (x - 14 - 3 * t) ** 2 < 120).float() for t in range(FRAMES)]
    frames = (255 * torch.stack(discs)[:, None].expand(-1, 3, -1, -1)).byte()
    tone = (torch.arange(16_000 * FRAMES, dtype=torch.float32) / 6).sin() / 2
    return Clip(frames, tone, 16_000)


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def segmented(clip, propagator, whole=None, inner=None, around=contextlib.nullcontext):
    model = Bright() if inner is None else Bright().to(inner)
    points = dict(type="every_n", n=3)
    wrapped = wrap(model, backend="callable", control_points=points, propagator=propagator)
    if whole is not None:
        wrapped.to(whole)
    with around():
        return wrapped.segment(clip)


@pytest.fixture(scope="module", params=["hold", "flow", "appearance", "refined", "learned"])
def propagator_and_masks(request, clip):
    return request.param, segmented(clip, request.param).masks


OTHER = {
    "whole half": dict(whole=torch.float16),
    "whole bfloat16": dict(whole=torch.bfloat16),
    "whole double": dict(whole=torch.float64),
    "model half": dict(inner=torch.float16),
    "model double": dict(inner=torch.float64),
    "autocast": dict(around=lambda: torch.autocast("cpu", torch.bfloat16)),
    "default double": dict(around=lambda: default_dtype(torch.float64)),
}


@pytest.mark.parametrize("kind", OTHER)
def test_masks_are_the_same_in_every_dtype(clip, propagator_and_masks, kind):
    propagator, expected = propagator_and_masks
    result = segmented(clip, propagator, **OTHER[kind])
    assert 0.05 < float(expected.float().mean()) < 0.5
    assert float((result.masks != expected).float().mean()) < 0.005
    assert result.probs.dtype == torch.float32


def test_everything_may_be_built_and_run_in_another_default_dtype(clip):
    expected = segmented(clip, "appearance").masks
    with default_dtype(torch.float64):
        assert torch.equal(segmented(clip, "appearance").masks, expected)


@pytest.mark.parametrize("provider", ["novelty", "cosine", "every_n"])
def test_control_points_do_not_depend_on_the_default_dtype(clip, provider):
    model = wrap(Bright(), backend="callable", control_points=provider, propagator="hold")
    expected = model.anchor(clip)
    with default_dtype(torch.float64):
        assert model.anchor(clip) == expected


def salient_object():
    model = load_sounding_object()
    model.input_size = 64
    return model


@pytest.mark.parametrize("load", [load_keyframe_processor, salient_object])
@pytest.mark.parametrize(
    ("dtype", "side"),
    [
        (torch.float16, SIDE),
        (torch.float16, 280),
        (torch.bfloat16, 280),
        (torch.float64, SIDE),
    ],
)
def test_the_shipped_models_work_in_every_dtype(clip, load, dtype, side):
    model, pictures = load(), interpolate(clip.frames[2:3], side)
    clip = Clip(pictures, clip.waveform[:16_000], 16_000)
    exact = model.segment_keyframes(clip, [0])
    rough = deepcopy(model).to(dtype).segment_keyframes(clip, [0])
    assert rough.dtype == torch.float32
    assert float(((rough > 0) != (exact > 0)).float().mean()) < 0.005
    assert bool(rough.isfinite().all())
    assert float((rough.sigmoid() - exact.sigmoid()).abs().mean()) < 0.01


def test_absent_probabilities_are_float32_in_every_default_dtype():
    with default_dtype(torch.float64):
        mask, none = torch.zeros(2, 2).byte(), torch.zeros(0, 2, 2, dtype=torch.float32)
        for num_classes in (1, 5):
            frame = FrameResult(0, 0.0, mask, (), none, num_classes, is_keyframe=True)
            assert frame.probs.dtype == torch.float32


def test_a_function_that_holds_a_model_in_half_is_told_what_to_do(clip):
    model = Bright().half()

    def function(frames, audio):
        return model(frames, audio)

    wrapped = wrap(function, backend="callable", control_points="every_n")
    with pytest.raises(AdapterError, match=r"function to take torch.float32 frames.*frames.half"):
        wrapped.segment(clip)


def test_other_errors_of_a_function_stay_as_they_are(clip):
    def function(frames, audio):
        raise RuntimeError("out of cheese")

    wrapped = wrap(function, backend="callable", control_points="every_n")
    with pytest.raises(RuntimeError, match=r"^out of cheese$"):
        wrapped.segment(clip)


absent_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        pytest.param("cuda", "'cuda' is not on this machine.*Available: cpu", marks=absent_gpu),
        ("cuda:99", "'cuda:99' is not on this machine"),
        ("meta", "holds shapes and no numbers.*Load the weights"),
        ("gpu", "Expected a device, e.g. 'cpu' or 'cuda:0', got 'gpu'"),
        pytest.param(
            "mps",
            "'mps' is not on this machine",
            marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one"),
        ),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_name(device, message):
    with pytest.raises(DeviceError, match=message):
        checked_device(device)
    with pytest.raises(DeviceError, match=message):
        wrap(Bright(), backend="callable", device=device)
    with pytest.raises(DeviceError, match=message):
        make_model("keyframe_processor", device=device)


def test_weights_without_numbers_are_refused():
    with torch.device("meta"):
        model = Bright()
    with pytest.raises(DeviceError, match=re.escape("model.to_empty(device='cpu')")):
        wrap(model, backend="callable")
    with torch.device("meta"):
        propagator = AudioInsertPropagator("R50_AOTL", **TOY, insert_layers=())
    with pytest.raises(DeviceError, match="no numbers"):
        wrap(Bright(), backend="callable", propagator=propagator)


@pytest.mark.parametrize("load", [load_keyframe_processor, salient_object])
def test_the_shipped_models_may_be_inside_data_parallel(clip, load):
    processor = load()
    parallel = nn.DataParallel(processor)
    wrapped = wrap(parallel, control_points="every_n", propagator="hold")
    assert unwrap(wrapped) is parallel
    alone = wrap(processor, control_points="every_n", propagator="hold").segment(clip)
    assert torch.equal(wrapped.segment(clip).probs, alone.probs)


def test_a_call_in_train_mode_says_that_it_trains_nothing():
    model = wrap(Bright(), backend="callable", control_points="every_n", propagator="hold")
    frames, audio = torch.rand(3, 3, 16, 16), torch.rand(3, 15_600)
    expected = model(frames, audio)
    assert not expected.requires_grad
    model.train()
    with pytest.raises(TrainingError, match=r"train nothing.*model\.eval\(\).*`coprop train`"):
        model(frames, audio)
    with torch.no_grad():
        assert torch.equal(model(frames, audio), expected)
    assert torch.equal(model.eval()(frames, audio), expected)


def test_wrapping_leaves_the_mode_of_the_model():
    for training in (True, False):
        module = Bright().train(training)
        wrap(module, backend="callable")
        assert module.training == training


class Elsewhere(torch.Tensor):
    """Stands for a tensor on a GPU: notes every call that would wait for it."""

    waits: list = []  # noqa: RUF012
    WAIT = frozenset(
        "item tolist cpu numpy nonzero unique __bool__ __int__ __float__ __index__".split()
    )

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in cls.WAIT:
            cls.waits.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


def without_wait():
    torch.manual_seed(0)
    yield "hold"
    for policy in ("recent", "useful", "merge"):
        yield AudioInsertPropagator(
            "R50_AOTL",
            **TOY,
            insert_layers=(),
            audio_identity=False,
            long_term_gap=2,
            max_memory_frames=3,
            memory_policy=policy,
        )


@pytest.mark.parametrize("num_classes", [1, 3])
def test_waits_for_the_device_do_not_grow_with_the_frames(num_classes):
    def regions(frames, audio):
        return torch.cat([frames[:, :1] - 0.5, frames[:, 1:num_classes] - 0.4], dim=1)

    def waits(frames, propagator):
        pictures = torch.rand(1, 3, 33, 33).expand(frames, -1, -1, -1)
        clip = Clip(pictures.as_subclass(Elsewhere), torch.rand(16_000 * frames) - 0.5, 16_000)
        backend = dict(type="callable", num_classes=num_classes)
        points = dict(type="every_n", n=99)
        options = dict(control_points=points, propagator=propagator, reanchor=None)
        model = wrap(regions, backend=backend, **options)
        Elsewhere.waits.clear()
        model.segment(clip)
        return list(Elsewhere.waits)

    for propagator in without_wait():
        few = waits(3, propagator)
        assert few, "a keyframe's classes must be known, so the first frame waits"
        assert waits(8, propagator) == few


class BesideProcessor(Elsewhere):
    """The same where the propagator computes on the processor: what is moved there waits."""

    DEVICE = torch.device("cpu", 0)  # Works as the CPU does, but is not equal to it.
    device = property(lambda self: self.DEVICE)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs)
        moved = getattr(func, "__name__", "") == "to" and torch.device("cpu") in args
        if moved:
            cls.waits.append("to")
        return result.as_subclass(torch.Tensor) if moved else result


def regions_on_device(frames, audio):
    return (frames[:, :1] - 0.5).as_subclass(BesideProcessor)


@pytest.fixture(params=["appearance", "refined", "flow", "hold"])
def waits_of(request):
    """Count the waits of a run over two seconds of so many frames: at all, and for masks."""
    picture = torch.zeros(3, 33, 33)
    picture[:, 8:24, 8:24] = 1

    def waits(frames, reanchor, drop_in):
        pictures, audio = picture.expand(frames, -1, -1, -1), torch.rand(frames, 15_600) - 0.5
        options = dict(control_points=dict(type="every_n", n=99), reanchor=reanchor)
        backend = dict(type="callable", audio="waveform" if drop_in else "none")
        function = regions_on_device if drop_in else lambda frames: regions_on_device(frames, None)
        model = wrap(function, backend=backend, propagator=request.param, **options)
        Elsewhere.waits.clear()
        if drop_in:
            model(pictures.as_subclass(BesideProcessor), audio)
        else:
            model.segment(Clip(pictures, torch.rand(32_000) - 0.5, 16_000))
        return list(Elsewhere.waits)

    return waits


@pytest.mark.parametrize(("reanchor", "keyframes"), [(None, 1), ("auto", 3)])
def test_a_propagator_on_the_processor_waits_once_a_keyframe(waits_of, reanchor, keyframes):
    few = waits_of(4, reanchor, drop_in=False)
    assert few.count("to") == keyframes, "each keyframe's mask is moved to the propagator"
    assert waits_of(9, reanchor, drop_in=False) == few


def test_frames_of_a_call_are_moved_to_the_processor_at_once(waits_of):
    few = waits_of(4, None, drop_in=True)
    assert few.count("to") == 2, "all frames, and the mask of the keyframe"
    assert waits_of(9, None, drop_in=True) == few


def test_copies_on_the_cpu_are_the_tensors_themselves():
    tensor = torch.ones(2)
    assert CPUCopy(tensor).tensors()[0] is tensor
    assert to_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@torch.no_grad()
def test_nothing_waits_for_a_gpu_between_frames():
    gpu = torch.device("cuda")
    for propagator in without_wait():
        if propagator == "hold":
            continue
        propagator = propagator.to(gpu).eval()
        frames = torch.randint(0, 256, (6, 1, 3, 33, 33), dtype=torch.uint8)
        masks = torch.ones(1, 33, 33, dtype=torch.long, device=gpu)
        memory = propagator.start(frames[0].to(gpu), None, masks)
        propagator.step(memory, frames[1].to(gpu), None)
        torch.cuda.set_sync_debug_mode("error")
        try:
            copies = [
                CPUCopy(propagator.step(memory, to_device(frame, gpu), None))
                for frame in frames[2:]
            ]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert all(copy.tensors()[0].device.type == "cpu" for copy in copies)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("propagator", ["appearance", "refined", "flow", "hold"])
def test_masks_of_a_model_on_a_gpu_are_fetched_at_keyframes_alone(clip, tmp_path, propagator):
    options = dict(control_points=dict(type="every_n", n=99), reanchor=None)
    model = wrap(Bright().cuda(), backend="callable", propagator=propagator, **options)
    frames = model.stream(write_clip(clip, tmp_path / "disc.mp4"), fps=1.0)
    assert next(frames).is_keyframe
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(frames)) == FRAMES - 1
    finally:
        torch.cuda.set_sync_debug_mode("default")

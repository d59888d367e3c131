"""Adapters of models of 2023 to 2025, shown on stand-ins with the exact calls."""

import copy

import newer_cases as cases
import pytest
import stand_ins
import stand_ins_newer as newer
import torch
from torch import nn

import coprop_plugin as coprop
from coprop_plugin.adapters import find_backend
from coprop_plugin.adapters.decibel_mel import as_log_mel, decibel_mel
from coprop_plugin.errors import AdapterError
from coprop_plugin.types import Clip

CASES = {
    "aavs": lambda: cases.aavs(newer.AAVS()),
    "stepping_stones": lambda: cases.stepping_stones(newer.SteppingStones()),
    "cavp": lambda: cases.cavp(newer.CAVP()),
    "cavp binary": lambda: cases.cavp(newer.CAVP(num_classes=2)),
    "combo": lambda: cases.combo(newer.COMBO(), input_size=32),
    "combo avss": lambda: cases.combo(newer.COMBO(5, semantic=True), input_size=32),
    "vct": lambda: cases.combo(newer.VCT(), "vct", side=384),
    "vct avss": lambda: cases.combo(newer.VCT(5, semantic=True), "vct", side=384),
    "gavs": lambda: cases.gavs(newer.GAVS()),
    "sama": lambda: cases.sama(newer.SAMA()),
    "auralsam2": lambda: cases.auralsam2(newer.AuralSAM2()),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request):
    torch.manual_seed(0)
    return request.param()


def test_models_are_recognised_by_structure(case):
    backend = find_backend(case.model)
    assert type(backend) is type(case.backend)
    parallel = nn.DataParallel(case.model, device_ids=[])
    assert type(find_backend(parallel)) is type(backend)


def test_with_every_frame_a_keyframe_it_is_the_bare_call(case):
    expected = case.bare()
    case.model.train()
    backend = case.backend
    call = backend.unpack(*case.args, **case.kwargs)
    assert [len(clip) for clip in call] == [len(case.clip)]
    torch.manual_seed(1)
    answer = backend.repack(call, backend.segment_call(call, cases.every(call)))
    assert type(answer) is type(expected)
    for one, other in zip(cases.leaves(answer), cases.leaves(expected), strict=True):
        assert torch.equal(one, other)
    assert case.model.training


def test_between_keyframes_the_carried_logits_come_out(case):
    own = cases.masks_of(case, case.bare())
    backend = case.backend
    call = backend.unpack(*case.args, **case.kwargs)
    (logits,) = backend.segment_call(call, [[0, 2]])
    assert logits.shape == (2, backend.num_classes, *call[0].size)
    carried = torch.full((len(case.clip), backend.num_classes, *call[0].size), -7.0)
    carried[:, -1:, : call[0].size[0] // 2] = 7.0
    masks = cases.masks_of(case, backend.repack(call, [carried]))
    torch.testing.assert_close(masks[[0, 2]], own[[0, 2]])
    assert masks.shape == own.shape
    assert masks.dtype == own.dtype
    # What upstream's metric takes for the foreground: the class, or a logit above 0.
    labels = masks[1] if case.name == "stepping_stones" else masks[1].argmax(0)
    sounds = labels > 0 if len(masks.shape) == 3 or masks.shape[1] > 1 else masks[1, 0] > 0
    height = sounds.shape[-2]
    assert sounds[: height // 2 - 4].all()
    assert not sounds[height // 2 + 4 :].any()


def test_a_keyframe_of_the_clip_has_the_masks_of_the_call(case):
    backend, own = case.backend, cases.masks_of(case, case.bare())[[2, 0]]
    keyframes = backend.segment_keyframes(case.clip, [2, 0])
    assert keyframes.shape == (2, backend.num_classes, *case.clip.size)
    assert keyframes.std() > 1e-3
    assert cases.distance(case, keyframes, own) < 1e-5
    window = find_backend(case.model, **case.options | dict(context="window"))
    torch.testing.assert_close(window.segment_keyframes(case.clip, [2, 0]), keyframes)
    assert backend.segment_keyframes(case.clip, []).shape[0] == 0


def test_other_sound_gives_other_masks(case):
    clip = case.clip
    names = [n for n in ("waveform", "log_mel", "audio_embedding") if getattr(clip, n) is not None]
    audio = {name: torch.zeros_like(getattr(clip, name)) for name in names}
    rate = 16_000 if "waveform" in audio else None
    silent = Clip(clip.frames, audio.pop("waveform", None), rate, clip.times, **audio)
    one, other = (case.backend.segment_keyframes(c, [1]) for c in (clip, silent))
    assert not torch.allclose(one, other)


def test_a_model_is_left_as_it_was(case):
    case.model.train()
    before = copy.deepcopy(case.model.state_dict())
    own = set(vars(case.model))
    device = getattr(case.model, "device", None)
    case.backend.segment_keyframes(case.clip, [1])
    call = case.backend.unpack(*case.args, **case.kwargs)
    case.backend.segment_call(call, [[0, 1]])
    assert all(module.training for module in case.model.modules())
    assert all(torch.equal(value, before[key]) for key, value in case.model.state_dict().items())
    assert set(vars(case.model)) == own
    assert getattr(case.model, "device", None) == device


def test_upstreams_script_runs_with_the_wrapped_model(case):
    options = dict(case.options)
    name = options.pop("backend", case.backend.__class__.__name__)
    model = coprop.wrap(
        case.model,
        backend=dict(type=name, **options),
        propagator="hold",
        reanchor=None,
        control_points=[1, 0] + [1] * (len(case.clip) - 2),
    )
    torch.manual_seed(1)
    answer = getattr(model.eval(), case.call)(*case.args, **case.kwargs)
    own = case.bare()
    assert type(answer) is type(own)
    masks, expected = cases.masks_of(case, answer), cases.masks_of(case, own)
    torch.testing.assert_close(masks[[0, 2]], expected[[0, 2]])
    assert not torch.allclose(masks[1].float(), expected[1].float())


# Their pictures have 384 pixels.
LARGE = ("aavs", "stepping_stones", "vct", "vct avss")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in CASES]
)
def test_adapters_keep_the_rules_of_backends(name):
    torch.manual_seed(0)
    case, vggish = CASES[name](), stand_ins.StandInVGGish().eval()
    report = cases.conformance(case, vggish)
    assert not report.failed, str(report)
    own = [finding.status for finding in report.findings if finding.rule == "drop-in call"]
    assert own == ["skipped" if case.name == "stepping_stones" else "passed"]


def test_attributes_that_a_script_reads_are_passed():
    model = newer.SAMA()
    wrapped = coprop.wrap(model, propagator="hold")
    assert wrapped.device is model.device
    with pytest.raises(AttributeError, match="image_encoder"):
        wrapped.image_encoder  # noqa: B018


def test_silence_in_cavps_spectrograms_is_silence_in_log_mels():
    quiet = as_log_mel(decibel_mel(torch.zeros(1, 16_000)))
    torch.testing.assert_close(quiet, torch.full_like(quiet, 0.01).log())


def test_decibel_mels_are_those_of_another_implementation():
    audio_utils = pytest.importorskip("transformers.audio_utils")
    seconds = torch.rand(2, 16_000) * 2 - 1
    bands = audio_utils.mel_filter_bank(257, 64, 125, 3800, 16_000, None, "htk")
    window = audio_utils.window_function(400, "hann")
    powers = [
        torch.as_tensor(
            audio_utils.spectrogram(
                second.double().numpy(),
                window,
                400,
                160,
                512,
                power=2.0,
                mel_filters=bands,
                mel_floor=1e-5,
            )
        )
        for second in seconds
    ]
    decibels = (20 * torch.stack(powers).log10()).transpose(1, 2)[:, :96] / 100
    torch.testing.assert_close(decibel_mel(seconds)[:, 0], decibels.float(), atol=1e-4, rtol=1e-4)


def test_a_frame_alone_is_a_clip_of_two_equal_ones():
    case = CASES["auralsam2"]()
    alone = find_backend(case.model, context="frame")
    (frames, spect, _), t = case.args, 3
    case.model.eval()
    with torch.no_grad():
        twice = case.model(frames[[t, t]], spect[[t, t]], None)[0][0]
    expected = twice["multistep_pred_multimasks_high_res"][0][:, :1]
    torch.testing.assert_close(alone.segment_keyframes(case.clip, [t]), expected)
    call = alone.unpack(*case.args)
    (logits,) = alone.segment_call(call, [[t]])
    assert case.model.calls[-1] == 2
    answer, _ = alone.repack(call, [torch.full((5, 1, *call[0].size), -7.0)])
    assert torch.equal(answer[t]["multistep_pred_multimasks_high_res"][0][:, :1], expected)
    # Whichever of its masks upstream's evaluation takes, it is the propagated one.
    assert not (answer[1]["multistep_pred_multimasks_high_res"][0] > 0).any()


def test_a_semantic_model_wants_a_first_stage():
    case = CASES["stepping_stones"]()
    with pytest.raises(AdapterError, match="first_stage=binary"):
        find_backend(case.model).segment_keyframes(case.clip, [0])
    with pytest.raises(AdapterError, match="binary model as first stage.*5 classes"):
        find_backend(case.model, first_stage=case.model)
    binary = find_backend(case.model, first_stage=newer.AAVS())
    assert binary.segment_keyframes(case.clip, [0]).shape == (1, 5, 384, 384)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "says"),
    [
        ("aavs", ({"pixel_values": 0},), {}, "feat_aud.*got .'pixel_values'"),
        ("aavs", (3,), {}, "dictionary.*int"),
        ("cavp", (torch.rand(2, 3, 32, 32), torch.rand(2, 1, 96, 64)), {}, "eval_mode=True"),
        (
            "cavp",
            (torch.rand(2, 3, 32, 32), torch.rand(3, 1, 96, 64)),
            dict(eval_mode=True),
            r"\[3, 1, 96, 64\] for 2 frames",
        ),
        ("gavs", (({}, []),), {}, "input_size.*tuple"),
        ("sama", (torch.rand(2, 3, 64, 64), torch.rand(2, 128)), {}, r"got audio \[2, 128\]"),
        ("sama", (), {}, r"infer\(input, spec\)"),
        ("auralsam2", (torch.rand(2, 3, 64, 64), torch.rand(2, 128), {}), {}, r"\[2, 96, 64\]"),
    ],
)
def test_calls_that_are_not_the_models_own_are_refused(name, args, kwargs, says):
    with pytest.raises(AdapterError, match=says):
        CASES[name]().backend.unpack(*args, **kwargs)

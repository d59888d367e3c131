"""What the Audio-Insert Propagator does with masks, sound and memory, at toy width."""

import pytest
import torch
from make_propagators import TOY, awake, carry, toy, video
from torch import nn

from coprop_plugin.errors import (
    ArgumentError,
    CheckpointError,
    PropagationError,
    UnknownNameError,
)
from coprop_plugin.layers import convolve
from coprop_plugin.propagation import AudioInsertPropagator, as_propagator, save_propagator
from coprop_plugin.propagation.encoders import FrozenBatchNorm
from coprop_plugin.propagation.geometry import network_size, resize_masks
from coprop_plugin.propagation.groups import merge_groups, split_into_groups
from coprop_plugin.propagation.memory import POLICIES
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip, Propagator


def test_it_is_a_registered_propagator():
    assert isinstance(toy(), Propagator)
    assert isinstance(build(MODELS, dict(type="audio_insert", **TOY)), AudioInsertPropagator)


@pytest.mark.parametrize("size", [(49, 65), (40, 61), (17, 17), (64, 64), (20, 90)])
def test_logits_have_the_frames_own_size(size):
    frames, masks = video(3, size)
    assert carry(toy(), frames, masks).shape == (2, 1, 3, *size)


@pytest.mark.parametrize(
    "options", [dict(encoder="mobilenetv2"), dict(encoder=dict(type="mobilenetv2", width=0.25))]
)
def test_mobilenet_runs_at_any_width(options):
    frames, masks = video(3, (33, 33))
    assert carry(toy(**options), frames, masks).isfinite().all()


def test_a_batch_is_its_clips_one_by_one():
    propagator = awake(toy(insert_layers=(0, 1, 2, 3))).double()
    frames, masks = (x.double() if x.is_floating_point() else x for x in video(batch=2))
    masks[1] = masks[1].flip(-1)
    sound = torch.randn(2, 5, 128, dtype=torch.float64)
    together = carry(propagator, frames, masks, sound)
    for b in range(2):
        alone = carry(propagator, frames[:, b : b + 1], masks[b : b + 1], sound[b : b + 1])
        torch.testing.assert_close(together[:, b : b + 1], alone)


def test_two_videos_at_once_do_not_disturb_each_other():
    propagator = toy(long_term_gap=2)
    videos = [video(seed=seed, num_objects=seed) for seed in (1, 2)]
    expected = [carry(propagator, *each) for each in videos]
    with torch.no_grad():
        memories = [propagator.start(frames[0], None, masks) for frames, masks in videos]
        for t in range(1, 6):
            for (frames, _), memory, logits in zip(videos, memories, expected, strict=True):
                assert torch.equal(propagator.step(memory, frames[t], None), logits[t - 1])


def test_the_network_holds_no_state_of_a_video():
    propagator = toy()
    before = {name: value.clone() for name, value in propagator.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in propagator.named_modules()}
    carry(propagator, *video())
    assert all(torch.equal(before[n], v) for n, v in propagator.state_dict().items())
    assert attributes == {name: set(vars(module)) for name, module in propagator.named_modules()}


@pytest.mark.parametrize("gap", [1, 2, 5, 9999])
def test_long_term_memory_is_written_every_gap_frames(gap):
    propagator = toy(long_term_gap=gap, max_memory_frames=None)
    frames, masks = video(12)
    with torch.no_grad():
        memory = propagator.start(frames[0], None, masks)
        for t, frame in enumerate(frames[1:], start=1):
            propagator.step(memory, frame, None)
            assert [x.num_frames for x in memory.long_term] == [1 + t // gap] * 2


@pytest.mark.parametrize(
    "options",
    [dict(max_memory_frames=None), *(dict(max_memory_frames=4, memory_policy=p) for p in POLICIES)],
)
def test_memory_where_gradients_are_recorded_is_the_same(options):
    propagator = toy(long_term_gap=1, **options).double()
    frames, masks = video(9)
    frames = frames.double()
    buffered = carry(propagator, frames, masks)
    memory = propagator.start(frames[0], None, masks)
    with_gradient = [propagator.step(memory, frame, None) for frame in frames[1:]]
    torch.testing.assert_close(torch.stack(with_gradient), buffered)
    with_gradient[-1].sum().backward()
    assert propagator.network.projector.weight.grad.abs().max() > 0


def test_a_limit_that_is_not_reached_changes_nothing():
    frames, masks = video(6)
    free, limited, tight = (
        carry(toy(long_term_gap=1, max_memory_frames=n), frames, masks) for n in (None, 6, 3)
    )
    assert torch.equal(free, limited)
    assert torch.equal(free[:3], tight[:3])
    assert not torch.equal(free[3:], tight[3:])


def test_masks_given_to_remember_replace_the_prediction():
    propagator = toy()
    frames, masks = video(3)
    free = carry(propagator, frames, masks)
    own = carry(propagator, frames, masks, forced=free.argmax(2))
    other = carry(propagator, frames, masks, forced=masks.flip(-1).expand(2, -1, -1, -1))
    assert torch.equal(free, own)
    assert torch.equal(free[0], other[0])
    assert not torch.equal(free[1], other[1])


def test_other_keyframe_masks_give_other_masks():
    frames, masks = video(2)
    propagator = toy()
    assert not torch.equal(
        carry(propagator, frames, masks), carry(propagator, frames, masks.flip(-1))
    )


@pytest.mark.parametrize("insert_layers", [(3,), (0, 1, 2, 3)])
def test_sound_changes_no_bit_before_it_is_trained(insert_layers):
    propagator = toy(insert_layers=insert_layers)
    frames, masks = video()
    with_sound = carry(propagator, frames, masks, torch.randn(1, 5, 128) * 100)
    assert torch.equal(with_sound, carry(propagator, frames, masks))


@pytest.mark.parametrize("options", [{}, dict(audio_identity=False), dict(insert_layers=())])
def test_other_sound_gives_other_logits_once_trained(options):
    propagator = awake(toy(**options))
    frames, masks = video(3)
    one, other = (carry(propagator, frames, masks, sound) for sound in torch.randn(2, 1, 5, 128))
    assert not torch.equal(one[1], other[1])
    # A frame's own identity is made after it is decoded, so it is heard one frame later.
    heard_at_once = options != dict(insert_layers=())
    assert not heard_at_once or not torch.equal(one[0], other[0])


def test_without_sound_what_listens_is_skipped():
    frames, masks = video(3)
    assert torch.equal(carry(awake(toy()), frames, masks), carry(toy(), frames, masks))


def test_sound_of_the_background_stays_out_of_the_identity():
    identity = awake(toy()).network.identity
    masks = torch.zeros(1, 49, 65).long()
    sound = torch.randn(1, 5, 128)
    assert torch.equal(identity(masks, sound), identity(masks, None))
    masks[:, :, :20] = 1
    change = (identity(masks, sound) - identity(masks, None)).abs().amax((0, 1, 3))
    assert (change[:2] > 0).all()
    assert (change[2:] == 0).all()


def test_pixels_to_ignore_are_no_identity_at_all():
    identity = toy().network.identity
    nothing = identity(torch.full((1, 33, 33), 255), None)
    torch.testing.assert_close(nothing, identity.bank.bias.expand_as(nothing))


def test_more_than_ten_objects_go_in_groups():
    frames, masks = video(3, num_objects=13)
    propagator = toy()
    logits = carry(propagator, frames, masks)
    assert logits.shape[2] == 14
    first, second = masks.where(masks <= 10, 0), (masks - 10).clamp(0)
    # After one step the groups know of each other only through the merged masks.
    groups = [carry(propagator, frames[:2], m)[0].softmax(1) for m in (first, second)]
    background = groups[0][:, :1] * groups[1][:, :1]
    merged = torch.cat([background, groups[0][:, 1:], groups[1][:, 1:]], dim=1)
    torch.testing.assert_close(logits[0], merged.clamp(1e-5, 1 - 1e-5).logit())


def test_groups_of_a_batch_stay_with_their_clips():
    propagator = awake(toy(max_objects=2)).double()
    frames, masks = video(4, batch=2, num_objects=5)
    frames, sound = frames.double(), torch.randn(2, 3, 128, dtype=torch.float64)
    masks[1] = masks[1].flip(-1)
    together = carry(propagator, frames, masks, sound)
    alone = carry(propagator, frames[:, 1:], masks[1:], sound[1:])
    torch.testing.assert_close(together[:, 1:], alone)


def test_groups_number_their_objects_from_1_and_ignore_in_all():
    masks = torch.tensor([[[0, 1, 2, 3, 5, 255]]])
    split = split_into_groups(masks, num_objects=5, size=2)[:, 0].tolist()
    assert split == [[0, 1, 2, 0, 0, 255], [0, 0, 0, 1, 0, 255], [0, 0, 0, 0, 1, 255]]
    assert split_into_groups(masks, num_objects=5, size=10) is masks


def test_merged_groups_stay_certain_where_one_is():
    sure = torch.full((2, 3, 1, 1), -9.0)
    sure[0, 0], sure[1, 2] = 9, 9
    merged = merge_groups(sure, num_objects=4, size=2)
    assert merged.shape == (1, 5, 1, 1)
    assert merged.argmax(1).item() == 4


def test_an_empty_keyframe_stays_background():
    frames, masks = video(2)
    assert carry(toy(), frames, masks * 0).shape[2] == 1


def test_float64_runs_throughout():
    frames, masks = video(3)
    logits = carry(awake(toy()).double(), frames.double(), masks, torch.randn(1, 5, 128).double())
    assert logits.dtype == torch.float64


def test_literal_equation_6_runs_and_loses_the_picture():
    propagator = toy(tokens="embedding", residual=False, audio_identity=False)
    _, masks = video()
    one, other = torch.rand(2, 1, 3, 49, 65)
    sound = torch.randn(1, 1, 128)
    with torch.no_grad():
        tokens = [propagator.network.encode(frame, sound)[1] for frame in (one, other)]
    assert torch.equal(*tokens)


def test_drop_path_acts_in_training_only():
    propagator = toy(drop_path=0.5)
    frames, masks = video(2, batch=4)
    assert torch.equal(carry(propagator, frames, masks), carry(propagator, frames, masks))
    propagator.train()
    assert not torch.equal(carry(propagator, frames, masks), carry(propagator, frames, masks))


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((480, 854), 1040, (481, 849)),
        ((465, 465), 1040, (465, 465)),
        ((224, 224), None, (225, 225)),
        # 9 / 16 and 25 / 16 pixels from the grid; a half goes to the even multiple.
        ((25, 41), None, (33, 33)),
        ((1080, 1920), 1040, (577, 1041)),
        ((5, 400), None, (17, 401)),
    ],
)
def test_sides_become_16_n_plus_1(size, limit, expected):
    assert network_size(*size, limit) == expected


def test_masks_are_resized_to_the_pixel_above_and_left():
    masks = torch.arange(5)[None, None].expand(1, 2, 5)
    assert resize_masks(masks, (2, 3))[0, 0].tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(width=24), "multiple of 16.*width=24"),
        (dict(num_heads=3), "multiple.*num_heads=3"),
        (dict(insert_layers=(4,)), r"3 \(the projected map\), got \(4,\)"),
        (dict(long_term_gap=0), "1 or more.*got 0, 8 and 1"),
        (dict(max_memory_frames=0), "got 9999, 0 and 1.*no limit None"),
        (dict(encode_ahead=0), "1 or more.*got 9999, 8 and 0"),
        (dict(tokens="words"), "'map' or 'embedding', got 'words'"),
    ],
)
def test_shapes_that_cannot_be_are_refused(options, message):
    with pytest.raises(PropagationError, match=message):
        toy(**options)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="'AOTX'.*R50_AOTL, AOTL"):
        AudioInsertPropagator("AOTX")
    with pytest.raises(UnknownNameError, match="'swin'.*r50, mobilenetv2"):
        toy(encoder="swin")
    with pytest.raises(UnknownNameError, match="'oldest'.*recent, useful, merge.*None"):
        toy(memory_policy="oldest")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(frame=torch.rand(3, 49, 65)), r"frame \[B, 3, H, W\].*got shape \[3, 49, 65\]"),
        (dict(masks=torch.zeros(1, 49, 64).long()), r"got shape \[1, 49, 64\].*Resize"),
        (dict(masks=torch.zeros(1, 49, 65)), "integer object ids.*float32"),
        (dict(masks=torch.full((1, 49, 65), -1)), "object ids 0 .background.*got -1"),
        (dict(masks=torch.full((1, 49, 65), 255)), "object ids counted from 1.*got 255.*clamp"),
        (dict(sound=torch.zeros(1, 128)), r"rows of `hear`, got shape \[1, 128\]"),
        (dict(sound=torch.zeros(2, 1, 128)), r"audio tokens \[B=1, N, 128\]"),
    ],
)
def test_a_keyframe_that_does_not_fit_is_refused(change, message):
    frames, masks = video(1)
    given = {**dict(frame=frames[0], sound=None, masks=masks), **change}
    with pytest.raises(PropagationError, match=message):
        toy().start(**given)


def test_frames_that_do_not_fit_the_memory_are_refused():
    propagator = toy()
    frames, masks = video(2)
    sound = torch.zeros(1, 2, 128)
    memory = propagator.start(frames[0], None, masks)
    with pytest.raises(PropagationError, match="1 clips at 49x65.*call `start`"):
        propagator.step(memory, frames[1, :, :, :33], None)
    with pytest.raises(PropagationError, match="to be None in a segment that began without audio"):
        propagator.step(memory, frames[1], sound)
    with pytest.raises(PropagationError, match="ids up to 2 in this segment, got 9.*`start`"):
        propagator.step(memory, frames[1], None, masks.clamp(max=0) + 9)
    with pytest.raises(PropagationError, match="which this propagator does not use"):
        toy(insert_layers=(), audio_identity=False).start(frames[0], sound, masks)


def folding_changes_nothing(propagator, frames, masks):
    """Compare one step in evaluation with the same where gradients are recorded."""
    folded = carry(propagator, frames, masks)
    memory = propagator.start(frames[0], None, masks)
    torch.testing.assert_close(propagator.step(memory, frames[1], None)[None], folded)
    return folded


@pytest.mark.parametrize("encoder", [TOY["encoder"], dict(type="mobilenetv2", width=0.25)])
def test_folded_norms_follow_whatever_happens_to_the_weights(encoder):
    propagator = toy(encoder=encoder).double()
    frames, masks = video(2)
    frames = frames.double()
    before = folding_changes_nothing(propagator, frames, masks)
    with torch.no_grad():
        for name, buffer in propagator.network.encoder.named_buffers():
            buffer.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else buffer.normal_()
    moved = folding_changes_nothing(propagator, frames, masks)
    assert (moved - before).abs().max() > 1e-3
    state = {name: value.flip(0) for name, value in propagator.state_dict().items()}
    propagator.load_state_dict(state)
    loaded = folding_changes_nothing(propagator, frames, masks)
    assert (loaded - moved).abs().max() > 1e-3
    single = carry(propagator.float(), frames.float(), masks)
    torch.testing.assert_close(single.double(), loaded, atol=1e-3, rtol=1e-3)
    assert set(propagator.state_dict()) == set(state)


def test_folded_norms_do_not_take_reused_memory_for_the_old_weights():
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(4, 4, 3, bias=False), FrozenBatchNorm(4)
    frames = torch.rand(1, 4, 8, 8)
    with torch.no_grad():
        for _ in range(10):
            convolve(frames, convolution, norm)
            # As `.half().float()` does: the second copy is often put where the first weights were.
            for _ in range(2):
                convolution.weight.data = torch.randn_like(convolution.weight)
            expected = norm(convolution(frames))
            torch.testing.assert_close(convolve(frames, convolution, norm), expected)


@pytest.mark.parametrize("kind", ["audio_insert", "AudioInsertPropagator"])
def test_a_network_by_name_needs_its_weights(kind, tmp_path):
    for spec in (kind, dict(type=kind, **TOY)):
        with pytest.raises(CheckpointError, match="'learned'.*coprop train.*checkpoint of AOT"):
            as_propagator(spec)
    asked = as_propagator(dict(type=kind, weights=None, **TOY))
    assert isinstance(asked, AudioInsertPropagator)
    saved = save_propagator(asked, tmp_path / "toy.safetensors")
    loaded = as_propagator(dict(type=kind, weights=str(saved)))
    torch.testing.assert_close(loaded.state_dict(), asked.state_dict())
    with pytest.raises(ArgumentError, match="width"):
        as_propagator(dict(type=kind, weights=str(saved), width=16))


def test_the_audio_of_the_next_frame_is_not_used_unless_asked_for():
    def tokens_of_the_first(waveform, **options):
        torch.manual_seed(0)
        encoder = dict(type="SmallLogMelEncoder", width=4)
        propagator = AudioInsertPropagator("AOTT", **TOY, audio_encoder=encoder, **options)
        return propagator.hear(Clip(torch.zeros(3, 3, 8, 8), waveform, sampling="avsbench"))[0]

    waveform = torch.rand(48_000, generator=torch.Generator().manual_seed(0)) - 0.5
    other = waveform.clone()
    other[16_000:] = 0
    assert torch.equal(tokens_of_the_first(waveform), tokens_of_the_first(other))
    ahead = dict(neighbours=(-1, 0, 1))
    assert not torch.equal(
        tokens_of_the_first(waveform, **ahead), tokens_of_the_first(other, **ahead)
    )

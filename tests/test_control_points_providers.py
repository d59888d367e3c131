import json
from dataclasses import replace

import pytest
import torch

from coprop_plugin.control_points import (
    CosineProvider,
    EveryNProvider,
    FileProvider,
    FlagsProvider,
    OracleProvider,
    as_provider,
    from_masks,
)
from coprop_plugin.control_points.listening import consecutive_similarity, frame_features
from coprop_plugin.errors import (
    ClipError,
    ControlPointError,
    ControlPointParseError,
    ControlPointWarning,
)
from coprop_plugin.types import Clip, ControlPoints


def clip_of(num_frames, waveform=None, **kwargs):
    return Clip(torch.zeros(num_frames, 3, 4, 4), waveform, 16_000, **kwargs)


def written(tmp_path, content):
    path = tmp_path / "points.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return FileProvider(path)


@pytest.mark.parametrize("flags", [[1, 0, 1], torch.tensor([1, 0, 1]), ControlPoints([1, 0, 1])])
def test_flags_are_returned_as_given(flags):
    assert FlagsProvider(flags).propose(clip_of(3)).indices == [0, 2]
    assert as_provider(flags).propose(clip_of(3)).indices == [0, 2]


def test_flags_of_another_length_are_refused():
    with pytest.raises(
        ControlPointError, match="for the 4 frames of the clip, got 3 from the list"
    ):
        FlagsProvider([1, 0, 1]).propose(clip_of(4))


@pytest.mark.parametrize("flags", ["abc", 5, None, [], [0, 1], [1, 2], ["x"], {"a": 1}])
def test_other_values_are_not_flags(flags):
    with pytest.raises(
        ControlPointError, match="one 0 or 1 per frame|Expected one flag|Expected 1 as the first"
    ):
        FlagsProvider(flags)


def test_a_file_of_ours_is_read_back(tmp_path):
    points = ControlPoints([1, 0, 0, 1, 0], source="novelty", log={"note": "x"})
    provider = written(tmp_path, points.to_dict(clip_of(5).times))
    again = provider.propose(clip_of(5))
    assert again == points
    assert (again.source, again.log) == ("novelty", {"note": "x"})


@pytest.mark.parametrize(
    ("content", "indices"),
    [
        ([1, 0, 1, 0], [0, 2]),
        ({"flags": [1, 0, 0, 1]}, [0, 3]),
        ({"indices": [0, 1], "num_frames": 4}, [0, 1]),
        ({"seconds": [0, 2.2]}, [0, 2]),
        ({"seconds": [2.2, 1]}, [0, 1, 2]),
        ({"seconds": []}, [0]),
    ],
)
def test_flags_indices_or_seconds_may_be_in_the_file(tmp_path, content, indices):
    clip = clip_of(4, sampling="avsbench")
    assert written(tmp_path, content).propose(clip).indices == indices


def test_changes_after_the_end_are_warned_of(tmp_path):
    clip = clip_of(4, sampling="avsbench")
    milliseconds = written(tmp_path, {"seconds": [0, 500, 1200]})
    with pytest.warns(ControlPointWarning, match=r"2 of 3 changes in .* \(4 s\) .* at 1200\."):
        assert milliseconds.propose(clip).indices == [0]
    # An annotation ends where its recording does.
    assert written(tmp_path, {"seconds": [0, 2, 4.4]}).propose(clip).indices == [0, 2]


@pytest.mark.parametrize(
    "edit", [{"indices": [0, 1]}, {"flags": [1, 1, 0, 0, 0]}, {"seconds": [0.9375, 1.9375]}]
)
def test_a_file_in_which_one_of_three_was_edited_is_refused(tmp_path, edit):
    content = ControlPoints([1, 0, 0, 1, 0]).to_dict(clip_of(5).times)
    with pytest.raises(ControlPointError, match="Remove"):
        written(tmp_path, content | edit).propose(clip_of(5))
    (kept,) = edit
    others = {"indices", "flags", "seconds"} - {kept}
    edited = {key: value for key, value in (content | edit).items() if key not in others}
    assert written(tmp_path, edited).propose(clip_of(5)).indices == [0, 1]


def test_a_file_for_another_frame_rate_is_snapped_by_its_seconds(tmp_path):
    slow = clip_of(4, times=torch.arange(4.0))
    provider = written(tmp_path, ControlPoints([1, 0, 1, 0]).to_dict(slow.times))
    fast = clip_of(16, times=torch.arange(16) / 4)
    assert provider.propose(fast).indices == [0, 8]


def test_a_file_with_flags_for_another_length_and_no_seconds_is_refused(tmp_path):
    with pytest.raises(
        ControlPointError, match=r"for the 4 frames of the clip, got 3 from .*points.json"
    ):
        written(tmp_path, [1, 0, 1]).propose(clip_of(4))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{not json", "not JSON"),
        ("", "not JSON"),
        ('"text"', "holds a str"),
        ("[" * 100_000, "not JSON"),
        ({"boxes": [1]}, 'or "indices" and'),
        ([0, 0, 0, 0], "Set the first one to 1"),
        ([1, "a", 0, 0], "holds no control points"),
        ({"seconds": "3"}, "not a list of numbers"),
        ({"seconds": [1, None]}, "not a list of numbers"),
        ({"flags": [1, 0, 0, 0], "seconds": 0}, "not a list of numbers"),
        ('{"seconds": [1, NaN]}', "not a list of numbers"),
        ({"seconds": [10**400]}, "not a list of numbers"),
        ({"indices": [0, 10**400], "num_frames": 4}, "holds no control points"),
        ({"indices": [0, 9], "num_frames": 4}, "stay below 4"),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(tmp_path, content, reason):
    with pytest.raises(ControlPointParseError, match=f"points.json.*{reason}"):
        written(tmp_path, content).propose(clip_of(4))


def test_huge_numbers_and_failures_of_another_type_are_typed_errors(tmp_path):
    provider = written(tmp_path, {"flags": [1, 0, 0, 0], "seconds": [10**400]})
    with pytest.raises(ControlPointError, match="has seconds.*Remove those that are wrong"):
        provider.propose(clip_of(4))
    clip = replace(clip_of(4), name="x")
    with pytest.raises(ControlPointError, match="none of 'x'"):
        written(tmp_path, {"clips": {}, "failed": True}).propose(clip)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(ControlPointParseError, match="nowhere.json: No such file"):
        FileProvider(tmp_path / "nowhere.json").propose(clip_of(1))
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ControlPointParseError, match="x.json.*not JSON"):
        FileProvider(tmp_path / "x.json").propose(clip_of(1))


def test_every_n_starts_at_0():
    assert EveryNProvider(3).propose(clip_of(7)).indices == [0, 3, 6]
    assert EveryNProvider(9).propose(clip_of(7)).indices == [0]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_every_n_needs_a_whole_number(n):
    with pytest.raises(ControlPointError, match="whole number of frames, 1 or more"):
        EveryNProvider(n)


def test_the_oracle_compares_sets_of_ids_not_shapes():
    masks = torch.zeros(6, 2, 2, dtype=torch.long)
    masks[1, 0, 0] = 3
    masks[2, 1, 1] = 3
    masks[3] = 3
    masks[4, 0] = 3
    masks[4, 1] = 5
    assert from_masks(masks).indices == [0, 1, 4, 5]
    assert OracleProvider(masks).propose(clip_of(6)).log["ids"] == [[], [3], [3], [3], [3, 5], []]


def test_the_oracle_takes_boolean_masks():
    assert from_masks(torch.tensor([True, True, False]).reshape(3, 1, 1)).indices == [0, 2]


@pytest.mark.parametrize("masks", [torch.zeros(3, 4), torch.rand(3, 4, 4), torch.zeros(0, 4, 4)])
def test_other_masks_are_refused(masks):
    with pytest.raises(ControlPointError, match=r"Expected masks \[T, H, W\] of whole numbers"):
        from_masks(masks)


def test_the_oracle_refuses_a_clip_of_another_length():
    with pytest.raises(
        ControlPointError, match="for the 3 frames of the clip, got 2 from the true masks"
    ):
        OracleProvider(torch.zeros(2, 4, 4, dtype=torch.long)).propose(clip_of(3))


def test_cosine_marks_frames_that_differ_from_the_one_before():
    embedding = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 0], [0, 0], [0.1, 1]])
    embedding = torch.nn.functional.pad(embedding, (0, 126))
    points = CosineProvider().propose(clip_of(6, audio_embedding=embedding))
    assert points.indices == [0, 2, 3, 5]
    json.dumps(points.log)


def test_cosine_finds_a_change_of_tone_without_vggish():
    t = torch.arange(5 * 16_000) / 16_000
    tone = torch.where(t < 3, torch.sin(2 * torch.pi * 300 * t), torch.sin(2 * torch.pi * 3000 * t))
    points = CosineProvider().propose(clip_of(5, 0.3 * tone, sampling="avsbench"))
    assert points.indices == [0, 3]


def test_cosine_uses_the_network_it_is_given():
    class Loudness(torch.nn.Module):
        def forward(self, log_mel):
            loud = (log_mel.mean(dim=(1, 2, 3)) > -4).float()
            return torch.stack([loud, 1 - loud], 1)

    waveform = torch.zeros(5 * 16_000)
    waveform[2 * 16_000 :] = torch.rand(3 * 16_000) - 0.5
    clip = clip_of(5, waveform, sampling="avsbench")
    assert frame_features(clip, Loudness()).shape == (5, 2)
    assert CosineProvider(vggish=Loudness()).propose(clip).indices == [0, 2]


def test_two_silent_rows_are_alike():
    rows = torch.tensor([[0.0, 0], [0, 0], [1, 0]])
    assert consecutive_similarity(rows).tolist() == [1, 0]
    assert CosineProvider().propose(clip_of(4, torch.zeros(64_000))).indices == [0]
    assert CosineProvider().propose(clip_of(1, torch.zeros(16_000))).indices == [0]


def test_cosine_needs_audio():
    with pytest.raises(ClipError, match="no audio at all"):
        CosineProvider().propose(clip_of(2))

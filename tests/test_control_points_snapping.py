import pytest
import torch

from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import Clip
from coprop_plugin.types.timeline import change_frames, snap, states_of_frames


def seconds_clip(num_frames):
    return Clip(torch.zeros(num_frames, 3, 4, 4), sampling="avsbench")


def instants_clip(times):
    return Clip(torch.zeros(len(times), 3, 4, 4), times=torch.tensor(times))


@pytest.mark.parametrize(
    ("boundary_s", "frames"),
    [(0.2, [0]), (0.6, [0, 1]), (1.0, [0, 1]), (1.45, [0, 1]), (1.55, [0, 2]), (3.7, [0])],
)
def test_a_change_goes_to_the_second_whose_start_is_nearest(boundary_s, frames):
    assert snap([boundary_s], seconds_clip(4)) == frames


def test_an_object_that_sounds_for_half_of_a_second_sounds_in_it():
    assert snap([1.5], seconds_clip(4)) == [0, 1]


def test_two_changes_within_a_second_are_one():
    assert snap([0.9, 1.2], seconds_clip(4)) == [0, 1]


@pytest.mark.parametrize("blip", [(1.3, 1.6), (1.0, 1.4), (1.35, 1.75), (0.6, 1.4), (2.8, 2.9)])
def test_a_blip_shorter_than_half_a_second_disappears_between_equal_states(blip):
    states = states_of_frames(blip, seconds_clip(4), ["silence", "dog", "silence"])
    assert change_frames(states) == [0]


def test_a_blip_shorter_than_half_a_second_is_skipped_between_different_states():
    states = states_of_frames([1.3, 1.6], seconds_clip(4), ["silence", "dog", "cat"])
    assert states == ["silence", "cat", "cat", "cat"]


def test_a_blip_of_more_than_half_a_second_stays():
    states = states_of_frames([1.2, 1.9], seconds_clip(4), ["silence", "dog", "silence"])
    assert change_frames(states) == [0, 1, 2]


def test_states_must_fit_the_boundaries():
    with pytest.raises(ControlPointError, match="Expected 3 states for 2 boundaries.*got 2"):
        states_of_frames([1.0, 2.0], seconds_clip(3), ["a", "b"])


@pytest.mark.parametrize(
    ("boundary_s", "frames"),
    [(0.01, [0]), (0.24, [0]), (0.26, [0, 1]), (0.9, [0, 2]), (1.0, [0, 2]), (1.2, [0, 2])],
)
def test_with_time_stamps_a_change_is_the_frame_whose_span_starts_nearest(boundary_s, frames):
    assert snap([boundary_s], instants_clip([0.0, 0.5, 1.0, 1.5])) == frames


def test_variable_frame_rate_is_snapped_by_time_stamps():
    assert snap([1.0, 4.0], instants_clip([0.0, 0.1, 3.0, 3.1, 9.0])) == [0, 1, 3]


def test_changes_outside_the_clip_are_dropped():
    assert snap([-3.0, 0.0, 99.0], instants_clip([0.0, 0.5, 1.0])) == [0]


def test_no_changes_give_one_control_point():
    assert snap([], seconds_clip(3)) == [0]


@pytest.mark.parametrize("boundaries", [[2.0, 1.0], [float("nan")], ["a"], 3.0, [[1.0]]])
def test_what_are_no_rising_seconds_is_refused(boundaries):
    with pytest.raises(ControlPointError, match="Expected boundaries as a rising list of seconds"):
        snap(boundaries, seconds_clip(3))

"""What long-term memory keeps when it is full, by each policy."""

import pytest
import torch
import torch.nn.functional as F

from coprop_plugin.propagation.memory import POLICIES, LongTermMemory, attention_shares

SHAPE = (1, 2, 3, 4)
"""One clip, two heads, three tokens of four channels."""


def frame(key, value, rows=1):
    return torch.full((rows, *SHAPE[1:]), float(key)), torch.full((rows, *SHAPE[1:]), float(value))


def kept(memory, row=0):
    """Which frames are kept, told by their values."""
    return sorted(memory.values[row, 0, :, 0, 0].tolist())


def filled(policy, limit, keys):
    memory = LongTermMemory(limit, policy)
    for number, key in enumerate(keys):
        memory.write(*frame(key, number))
    return memory


@pytest.fixture(autouse=True)
def _without_gradient():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
@pytest.mark.parametrize("gradient", [False, True])
def test_recent_keeps_the_keyframe_and_the_newest(limit, gradient):
    memory = LongTermMemory(limit, "recent")
    with torch.set_grad_enabled(gradient):
        for t in range(9):
            memory.write(*frame(-t, t))
            newest = range(t + 1)[1:][-limit + 1 :][: limit - 1]
            assert kept(memory) == sorted({0.0, *map(float, newest)})
            keys, values = memory.read()
            assert torch.equal(keys, -values)
            assert memory.num_frames * SHAPE[2] == keys.shape[2]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_keyframe_always_stays(policy):
    for limit in (1, 2, 3, 5):
        memory = filled(policy, limit, torch.randn(20, generator=torch.manual_seed(0)))
        assert memory.num_frames == limit
        assert kept(memory)[0] == 0


def test_useful_keeps_what_is_looked_at():
    """Frame 2 is like all that come later, so they look at it; the others are looked away from."""
    memory = filled("useful", 4, [-9, -9, 9, -9, 9, 9, 9, 9])
    assert 2.0 in kept(memory)
    assert kept(memory)[-1] == 7
    assert not {1.0, 3.0} & set(kept(memory))


def test_useful_never_gives_up_the_newest_quarter():
    keys = [9] * 8 + [-9] * 3
    memory = filled("useful", 8, keys)
    assert kept(memory)[-2:] == [9.0, 10.0]


def test_shares_of_attention_are_those_of_attention():
    queries, keys = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 4, 5, 8)
    shares = attention_shares(queries, keys)
    marks = torch.eye(4).repeat_interleave(5, 0).expand(2, 3, -1, -1)
    looked = F.scaled_dot_product_attention(queries, keys.flatten(2, 3), marks)
    torch.testing.assert_close(shares, looked.mean((1, 2)))
    torch.testing.assert_close(shares.sum(1), torch.ones(2))


def test_merge_makes_one_of_neighbours_that_are_alike():
    memory, directions = LongTermMemory(4, "merge"), torch.eye(4)
    # Frames 2 and 3 look in one direction, frame 0 in that of frame 4.
    for number, direction in enumerate((3, 1, 2, 2, 3)):
        memory.write(directions[direction].expand(SHAPE), torch.full(SHAPE, float(number)))
    assert kept(memory) == [0, 1, 2.5, 4]


def test_what_was_merged_counts_as_many():
    """All alike: the first two are merged again and again, into the mean of all of them."""
    memory = filled("merge", 3, [1] * 7)
    assert kept(memory) == [0, pytest.approx(sum(range(1, 6)) / 5), 6]
    assert sorted(memory.merged[0].tolist()) == [1, 1, 5]


@pytest.mark.parametrize("policy", POLICIES)
def test_each_clip_of_a_batch_forgets_for_itself(policy):
    keys = torch.randn(2, 12, *SHAPE[1:], generator=torch.manual_seed(0))
    together, alone = LongTermMemory(4, policy), [LongTermMemory(4, policy) for _ in range(2)]
    for t in range(12):
        together.write(keys[:, t], torch.full((len(keys), *SHAPE[1:]), float(t)))
        for row, memory in enumerate(alone):
            memory.write(keys[row : row + 1, t], torch.full(SHAPE, float(t)))
        if t == 9:
            # One clip ends; the other goes on.
            together, keys, alone = together.first(1), keys[:1], alone[:1]
        for row, memory in enumerate(alone):
            assert kept(together, row) == pytest.approx(kept(memory))
    assert len(together.read()[0]) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_full_memory_allocates_nothing(policy):
    memory = filled(policy, 6, range(6))
    places = [x.data_ptr() for x in memory.read()]
    for t in range(20):
        memory.write(*frame(t % 5, t))
    assert [x.data_ptr() for x in memory.read()] == places

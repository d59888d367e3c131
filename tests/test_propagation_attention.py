"""Each attention against an implementation of its own: torch's, or the dense definition."""

import pytest
import torch
from einops import rearrange
from torch import nn

from coprop_plugin.propagation.attention import (
    LongTermAttention,
    SelfAttention,
    ShortTermAttention,
    split_heads,
)
from coprop_plugin.propagation.audio_insert import AudioInsert
from coprop_plugin.propagation.block import sine_position

WIDTH, HEADS = 16, 2


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


def reference(query, key, value, project):
    """Return torch's attention with these linear maps, None for a map that leaves all as it is."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    with torch.no_grad():
        for rows, linear in enumerate((query, key, value)):
            where = slice(rows * WIDTH, (rows + 1) * WIDTH)
            eye = torch.eye(WIDTH, dtype=torch.float64)
            attention.in_proj_weight[where] = eye if linear is None else linear.weight
            bias = None if linear is None else linear.bias
            attention.in_proj_bias[where] = 0 if bias is None else bias
        attention.out_proj.load_state_dict(project.state_dict())
    return attention


def test_self_attention_is_torchs_with_place_in_queries_and_keys_only():
    ours = SelfAttention(WIDTH, HEADS).double()
    tokens = torch.randn(2, 3, 5, WIDTH, dtype=torch.float64)
    position = sine_position(3, 5, WIDTH)
    theirs = reference(ours.query, ours.key, ours.value, ours.project)
    placed = (tokens + position).flatten(1, 2)
    expected, _ = theirs(placed, placed, tokens.flatten(1, 2))
    torch.testing.assert_close(ours(tokens, position).flatten(1, 2), expected)


def test_long_term_attention_is_torchs_over_all_frames():
    ours = LongTermAttention(WIDTH, HEADS).double()
    query = torch.randn(2, 3, 5, WIDTH, dtype=torch.float64)
    keys, values = torch.randn(2, 2, 12, 5, WIDTH, dtype=torch.float64)
    expected, _ = reference(None, None, None, ours.project)(
        query.flatten(1, 2), keys.flatten(1, 2), values.flatten(1, 2)
    )
    got = ours(query, split_heads(keys, HEADS), split_heads(values, HEADS))
    torch.testing.assert_close(got.flatten(1, 2), expected)


@pytest.mark.parametrize(("height", "width", "radius"), [(5, 7, 2), (3, 2, 4), (9, 1, 1)])
def test_short_term_attention_is_dense_attention_masked_to_the_window(height, width, radius):
    ours = ShortTermAttention(WIDTH, HEADS, radius).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    query, key, value = torch.randn(3, 2, height, width, WIDTH, dtype=torch.float64)
    expected = dense_window_attention(ours, query, key, value)
    torch.testing.assert_close(ours(query, key, value), expected)


def dense_window_attention(ours, query, key, value):
    height, width = query.shape[1:3]
    radius, window = ours.radius, ours.window
    q, k, v = (split_heads(x, HEADS) for x in (query, key, value))
    y, x = (a.flatten() for a in torch.meshgrid(*map(torch.arange, (height, width)), indexing="ij"))
    dy, dx = y[None] - y[:, None], x[None] - x[:, None]
    inside = (dy.abs() <= radius) & (dx.abs() <= radius)
    offset = ((dy + radius) * window + dx + radius).where(inside, 0)
    scores = q @ k.mT * (WIDTH / HEADS) ** -0.5
    weight = ours.relative_key_weight.view(HEADS, window**2, -1)[:, offset]
    bias = ours.relative_key_bias.view(HEADS, window**2)[:, offset]
    scores = scores + torch.einsum("bhpc,hpkc->bhpk", q, weight) + bias
    weights = scores.masked_fill(~inside, -torch.inf).softmax(-1)
    values = v[:, :, None] + rearrange(ours.relative_value, "h c n -> h n c")[:, offset]
    out = torch.einsum("bhpk,bhpkc->bhpc", weights, values)
    return ours.project(rearrange(out, "b h (y x) c -> b y x (h c)", y=height))


def test_short_term_gradients_are_those_of_finite_differences():
    ours = ShortTermAttention(4, 2, radius=1).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    inputs = tuple(torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in "qkv")
    assert torch.autograd.gradcheck(ours, inputs)


def test_audio_insert_is_torchs_cross_attention_beside_the_map():
    ours = AudioInsert(WIDTH, WIDTH, HEADS).double()
    nn.init.normal_(ours.project.weight)
    pixels = torch.randn(2, 3, 5, WIDTH, dtype=torch.float64)
    sound = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    theirs = reference(ours.query, ours.key, ours.value, ours.project)
    with_null = torch.cat([ours.null_token.expand(2, -1, -1), sound], dim=1)
    change, _ = theirs(ours.norm(pixels).flatten(1, 2), with_null, with_null)
    torch.testing.assert_close(ours(pixels, sound), pixels + change.view_as(pixels))


def test_equation_6_to_the_letter_copies_one_vector_and_trains_neither_query_nor_key():
    literal = AudioInsert(WIDTH, 8, HEADS, residual=False).double()
    pixels = torch.randn(2, 3, 5, WIDTH, dtype=torch.float64)
    sound = torch.randn(2, 1, 8, dtype=torch.float64)
    inserted = literal(pixels, sound)
    expected = literal.value(sound)[:, :, None].expand(2, 3, 5, WIDTH)
    torch.testing.assert_close(inserted, expected)
    (inserted * torch.randn_like(inserted)).sum().backward()
    trained = literal.value.weight.grad.abs().max()
    assert trained > 0.1
    for linear in (literal.query, literal.key):
        # Zero but for the rounding of float64.
        assert linear.weight.grad.abs().max() < 1e-13 * trained


def test_the_null_token_lets_query_and_key_learn_from_one_audio_token():
    insert = AudioInsert(WIDTH, 8, HEADS).double()
    nn.init.normal_(insert.project.weight)
    pixels = torch.randn(2, 3, 5, WIDTH, dtype=torch.float64)
    inserted = insert(pixels, torch.randn(2, 1, 8, dtype=torch.float64))
    (inserted * torch.randn_like(inserted)).sum().backward()
    for linear in (insert.query, insert.key, insert.value):
        assert linear.weight.grad.abs().max() > 0


def test_a_fresh_insertion_learns_its_output_first_and_the_rest_after():
    insert = AudioInsert(WIDTH, 8, HEADS)
    pixels, sound = torch.randn(1, 3, 5, WIDTH), torch.randn(1, 4, 8)
    assert torch.equal(insert(pixels, sound), pixels)
    optimiser = torch.optim.SGD(insert.parameters(), lr=0.1)
    for learns_to_ask in (False, True):
        optimiser.zero_grad()
        (insert(pixels, sound) ** 2).sum().backward()
        assert insert.project.weight.grad.abs().max() > 0
        assert bool(insert.query.weight.grad.abs().max() > 0) == learns_to_ask
        optimiser.step()


def test_position_has_y_first_then_x_and_starts_at_zero():
    position = sine_position(3, 4, 8)
    assert position.shape == (3, 4, 8)
    torch.testing.assert_close(position[0, 0], torch.tensor([0.0, 1.0] * 4, dtype=torch.float64))
    assert torch.equal(position[:, 0, :4], position[:, 3, :4])
    assert torch.equal(position[0, :, 4:], position[2, :, 4:])
    last = torch.tensor(2 * torch.pi, dtype=torch.float64)
    torch.testing.assert_close(position[2, 0, 0], last.sin(), atol=1e-5, rtol=0)

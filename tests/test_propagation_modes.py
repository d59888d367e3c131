"""Propagation in half precision, compiled, and along a long segment."""

import json
import sys
from pathlib import Path

import pytest
import torch

from coprop_plugin.propagation import AudioInsertPropagator

TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
BENCHMARKS = Path(__file__).resolve().parent.parent / "examples" / "benchmarks"


def toy(**options):
    torch.manual_seed(0)
    return AudioInsertPropagator("R50_AOTL", long_term_gap=2, **{**TOY, **options}).eval()


@torch.no_grad()
def carried(propagator, frames=9, size=(49, 65)):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(frames, 1, 3, *size, generator=generator)
    masks = torch.zeros(1, *size).long()
    masks[:, 10:30, 10:30], masks[:, 30:44, 30:60] = 1, 2
    memory = propagator.start(pictures[0], None, masks)
    logits = [propagator.step(memory, picture, None) for picture in pictures[1:]]
    return torch.stack(logits), memory


@pytest.mark.parametrize("options", [{}, dict(guide="flow"), dict(max_memory_frames=2)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_halves_memory_and_says_about_the_same(dtype, options):
    exact, whole = carried(toy(**options))
    with torch.autocast("cpu", dtype):
        rough, memory = carried(toy(**options))
    keys, values = memory.long_term[0].read()
    assert keys.dtype == values.dtype == dtype
    assert keys.nbytes * 2 == whole.long_term[0].read()[0].nbytes
    assert rough.isfinite().all()
    spread = float(exact.max() - exact.min())
    assert float((rough.float() - exact).abs().mean()) < 0.05 * spread
    assert not torch.equal(rough.float(), exact)


@pytest.mark.parametrize("encoder", [TOY["encoder"], "small"])
def test_what_is_compiled_says_the_same(encoder):
    # "eager" traces as every other backend does, and generates no code, which takes a minute.
    exact, _ = carried(toy(encoder=encoder))
    propagator = toy(encoder=encoder)
    names = set(propagator.state_dict())
    propagator.network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(carried(propagator)[0], exact, atol=1e-4, rtol=1e-4)
    assert set(propagator.state_dict()) == names


@pytest.mark.parametrize("policy", ["recent", "useful", "merge"])
def test_memory_along_a_segment_stays_as_it_is_once_it_is_full(policy):
    def held(memory):
        return sum(
            x.untyped_storage().nbytes()
            for far, near in zip(memory.long_term, memory.short_term, strict=True)
            for x in (*far.read(), *near)
        )

    propagator = toy(max_memory_frames=4, memory_policy=policy)
    sizes = [held(carried(propagator, frames)[1]) for frames in (9, 10, 40)]
    assert len(set(sizes)) == 1
    assert held(carried(toy(max_memory_frames=None), 40)[1]) > 2 * sizes[0]


def test_the_default_memory_is_bounded():
    _, memory = carried(AudioInsertPropagator("R50_AOTL", long_term_gap=1, **TOY).eval(), 60)
    # What a segment has after 200 frames, at AOT's gap of 5, is all that it ever has.
    assert memory.long_term[0].num_frames <= 40


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)


def test_modes_are_measured_beside_one_another(benchmarks, monkeypatch, tmp_path, capsys):
    import propagation_modes

    monkeypatch.setattr(propagation_modes, "built", lambda weights, mode, device: toy())
    out = tmp_path / "modes.json"
    command = ["modes", "--device", "cpu", "--sizes", "33x49", "--frames", "6", "--out", str(out)]
    modes = "float32,float32 ahead:2,float32 batch:2,bf16"
    monkeypatch.setattr(sys, "argv", [*command, "--modes", modes])
    propagation_modes.main()
    (run,) = json.loads(out.read_text())
    assert [row["mode"] for row in run["modes"]] == modes.split(",")
    assert all(row["ms"] > 0 for row in run["modes"])
    assert run["modes"][0]["flipped_percent"] == 0
    assert run["modes"][2]["flipped_percent"] < 1


def test_peaks_are_noted_along_a_segment(benchmarks, monkeypatch, tmp_path, capsys):
    import memory_along_frames

    peaks = memory_along_frames.along(toy(), size=33, frames=7, every=3)
    assert list(peaks) == [3, 6, 7]
    assert sorted(peaks.values()) == list(peaks.values())


def test_memories_are_scored_on_clips_of_each_kind(benchmarks, monkeypatch):
    import long_term_memory

    propagator = toy(insert_layers=(), audio_identity=False)
    for kind in ("followed", "heard", "things"):
        rows = long_term_memory.clips(propagator, kind, count=2, frames=5, size=(33, 49))
        for frames, ids, _ in rows:
            assert frames.shape == (5, 3, 33, 49)
            assert ids.shape == (5, 33, 49)
            assert ids[0].unique().tolist() == list(range(int(ids[0].max()) + 1))
        quality, seconds = long_term_memory.scored(propagator, rows)
        assert 0 <= quality <= 100
        assert seconds > 0

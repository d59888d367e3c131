"""What the propagator's speed is measured against does the same: AOT, plainly written."""

import sys
from pathlib import Path

import pytest
import torch

from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.block import sine_position

BENCHMARKS = Path(__file__).resolve().parent.parent / "examples" / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import propagation_speed

    return propagation_speed


@pytest.mark.parametrize("windows", ["unfold", "dense"])
@torch.no_grad()
def test_the_plain_loop_says_what_ours_says(benchmarks, windows):
    torch.manual_seed(0)
    toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
    ours = AudioInsertPropagator("R50_AOTL", insert_layers=(), long_term_gap=2, **toy)
    ours = ours.eval().double()
    frames = torch.rand(6, 1, 3, 49, 65).double()
    masks = torch.zeros(1, 49, 65).long()
    masks[:, 10:30, 10:30] = 1
    masks[:, 30:40, 40:60] = 2
    plain = benchmarks.PlainLoop(ours, windows)
    plain.start(frames[0], masks, sine_position(4, 5, 16))
    memory = ours.start(frames[0], None, masks)
    for frame in frames[1:]:
        torch.testing.assert_close(plain.step(frame), ours.step(memory, frame, None))


def test_runs_add_up_to_a_history_and_a_plot(benchmarks, tmp_path, monkeypatch, capsys):
    row = dict(size=225, frames=10, ratio={"plain unfold": 1.0, "ours": 2.0})
    monkeypatch.setattr(benchmarks, "case", lambda *args: row)
    out, plot = tmp_path / "speed.json", tmp_path / "speed.png"
    command = ["propagation_speed", "--cases", "225:10", "--out", str(out), "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    for _ in range(2):
        benchmarks.main()
    assert [run["cases"] for run in benchmarks.json.loads(out.read_text())] == [[row], [row]]
    assert plot.read_bytes().startswith(b"\x89PNG")

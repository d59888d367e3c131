"""The script that fits the person head of `sounding_object`."""

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from make_assets import write_assets

from coprop_plugin.keyframes import load_sounding_object

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "data" / "person_head.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_fit_separates_and_is_not_moved_by_the_scale_of_a_map(script):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40).remainder(4).eq(0).float()
    pooled = torch.randn(40, 3, generator=generator)
    pooled[:, 0] += 6 * labels
    pooled[:, 1] = 1000 + 50 * pooled[:, 1]
    weight, bias = script["fitted"](pooled, labels, decay=1.0)
    scores = pooled @ weight + bias
    assert torch.equal(scores > 0, labels > 0)
    assert script["area_under_curve"](scores, labels) == 1


@pytest.mark.slow
def test_the_script_writes_a_model_with_a_head(tmp_path, monkeypatch, capsys):
    assets = write_assets(tmp_path / "assets")
    rows, columns = np.mgrid[:80, :80] - 39.5
    photo = np.full((80, 80, 3), 200, np.uint8)
    photo[np.hypot(rows, columns) < 20] = (20, 20, 240)
    for name in ("one", "two"):
        (tmp_path / "people").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "people" / f"{name}.png"), photo)
    weights = tmp_path / "weights.safetensors"
    arguments = [tmp_path / "people", assets, weights, "--scenes", 4]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "train: 2 photographs of people" in capsys.readouterr().out
    assert load_sounding_object(weights).person.linear.weight.any()

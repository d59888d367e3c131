"""The released families side by side: one process, no compiler, no CUDA, no compiled op."""

from processes import start_script

PROGRAM = """
import shutil, sys
assert not any(shutil.which(name) for name in ("cc", "c++", "gcc", "g++", "clang", "nvcc", "ninja"))

import torch
from coprop_plugin.adapters import load_released, save_released
from coprop_plugin.adapters import find_backend
from coprop_plugin.adapters import FAMILIES
from coprop_plugin.types import Clip

torch.manual_seed(0)
backbone = dict(
    type="resnet18", embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]
)
sizes = dict(
    tpavi=dict(width=16, head_widths=[8, 8]),
    avsegformer=dict(
        audio_encoder=dict(type="SmallLogMelEncoder", width=4), width=16, num_queries=4, heads=2,
        layers=1, hidden=16, listening_hidden=16,
    ),
    catr=dict(width=64, hidden=32, clip_hidden=48, num_queries=6, mask_width=16),
)
clip = Clip(
    torch.rand(5, 3, 40, 48), times=torch.arange(5) + 15 / 16,
    log_mel=torch.rand(5, 1, 96, 64) * 5 - 4, audio_embedding=torch.rand(5, 128),
)
for name, family in FAMILIES.items():
    path = save_released(family.build(backbone=backbone, **sizes[name]), f"{name}.safetensors")
    model = load_released(path)
    logits = find_backend(model, input_size=64).segment_keyframes(clip, [0, 3])
    assert logits.shape == (2, 1, 40, 48) and logits.isfinite().all() and logits.std() > 0
    half = find_backend(model.half(), input_size=64).segment_keyframes(clip, [0, 3])
    assert half.dtype == torch.float32
    assert float(((half > 0) != (logits > 0)).float().mean()) < 0.005
    print(name)

tops = {name.split(".")[0] for name in sys.modules}
assert not tops & {"model", "utils", "config", "ops", "MultiScaleDeformableAttention", "timm"}
assert "torch.utils.cpp_extension" not in sys.modules
"""


def test_three_families_in_one_process_without_a_compiler(tmp_path):
    script = tmp_path / "families.py"
    script.write_text(PROGRAM)
    env = {"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = start_script(tmp_path, script, env=env).wait()
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["tpavi", "avsegformer", "catr"]

"""The authors' own AOT, imported from a checkout of github.com/yoxu515/aot-benchmark.

Its short-term attention needs a CUDA extension that does not build everywhere (and its fallback
does not run), so a stand-in replaces the extension: the correlation of each
pixel with the window around it, by one matrix product a row of pixels, as ours does it. That is
faster on a processor than the extension's own code for it, so the comparison favours AOT.
"""

import sys
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.layers.normalisation import IMAGENET_MEAN, IMAGENET_STD
from coprop_plugin.propagation import AudioInsertPropagator, load_aot_checkpoint

EXTENSION = "spatial_correlation_sampler"


class Correlation(nn.Module):
    """`SpatialCorrelationSampler` of one pixel against `patch_size` x `patch_size` around it."""

    def __init__(self, kernel_size: int, patch_size: int, **options: int) -> None:
        super().__init__()
        wanted = dict(stride=1, padding=0, dilation=1, dilation_patch=1)
        assert kernel_size == 1, kernel_size
        assert options == wanted, options
        self.window = patch_size

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Correlate maps [N, C, H, W]; returns [N, window, window, H, W], 0 outside."""
        number, channels, height, width = query.shape
        key = F.pad(key, (self.window // 2,) * 4)
        reach = key.shape[3]
        rows = []
        for y in range(height):
            near = key[:, :, y : y + self.window].reshape(number, channels, -1)
            scores = query[:, :, y].mT @ near
            # The window of pixel x begins x columns to the right.
            size = (number, width, self.window, self.window)
            stride = (width * self.window * reach, self.window * reach + 1, reach, 1)
            rows.append(scores.as_strided(size, stride))
        return torch.stack(rows, dim=1).permute(0, 3, 4, 1, 2).contiguous()


class UpstreamLoop:
    """The loop of AOT's evaluator over one clip, with the authors' engine.

    Args:
        checkout: Where aot-benchmark is.
    """

    def __init__(self, checkout: Path) -> None:
        stand_in = ModuleType(EXTENSION)
        stand_in.SpatialCorrelationSampler = Correlation
        sys.modules.setdefault(EXTENSION, stand_in)
        sys.path.insert(0, str(checkout))
        from configs.default import DefaultEngineConfig
        from networks.engines import build_engine
        from networks.models import build_vos_model

        # Its constructor makes folders where it stands.
        DefaultEngineConfig.init_dir = lambda self: None
        config = DefaultEngineConfig("speed", "r50_aotl")
        torch.manual_seed(0)
        self.model = build_vos_model(config.MODEL_VOS, config).eval()
        self.engine = build_engine(
            config.MODEL_ENGINE,
            phase="eval",
            aot_model=self.model,
            gpu_id=0,
            long_term_mem_gap=config.TEST_LONG_TERM_MEM_GAP,
        ).eval()

    def ours(self, **options) -> AudioInsertPropagator:
        """Return our propagator with the same weights."""
        return load_aot_checkpoint(self.model.state_dict(), insert_layers=(), **options)

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """Begin with a keyframe [1, 3, H, W] of 16 n + 1 pixels a side, and ids [1, H, W]."""
        self.engine.restart_engine()
        self.engine.add_reference_frame(
            _normal(frame), masks[:, None].float(), obj_nums=[int(masks.max())], frame_step=0
        )

    def step(self, frame: Tensor) -> Tensor:
        """Carry the masks to the next frame; returns logits `[1, 1 + n, H, W]`."""
        self.engine.match_propogate_one_frame(_normal(frame))
        logits = self.engine.decode_current_logits(frame.shape[-2:])
        label = logits.softmax(1).argmax(1, keepdim=True).float()
        self.engine.update_memory(label)
        return logits[:, : 1 + int(self.engine.obj_nums)]

    def write(self) -> None:
        """Add the last frame to long-term memory."""
        (engine,) = self.engine.aot_engines
        memories = engine.curr_lstt_output[1 if engine.frame_step else 2]
        engine.update_long_term_memory(memories)
        engine.last_mem_step = engine.frame_step


def _normal(frame: Tensor) -> Tensor:
    mean, deviation = (frame.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (frame - mean) / deviation

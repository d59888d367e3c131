"""A finished run of the small scene, with the bare model's result and the truth beside it."""

import numpy as np
from PIL import Image

from coprop_plugin import media
from coprop_plugin.pipeline.wrap import wrap
from coprop_plugin.types import Clip
from coprop_plugin.world import TruthBackend

FPS = 4


class Late(TruthBackend):
    """Says what sounded half a second ago."""

    def segment_keyframes(self, clip, indices):
        return super().segment_keyframes(clip, [max(0, i - 2) for i in indices])


def make_run(scene, folder, name="made_up.mp4", backend=TruthBackend):
    """Segment the scene; returns the folder of the result and the result."""
    folder.mkdir(parents=True, exist_ok=True)
    video = media.write_clip(scene.clip(fps=8), folder / name)
    clip = Clip.from_file(video, fps=FPS)
    result = wrap(backend(scene), propagator="hold").segment(clip)
    result.save(folder / "run", overlay=False)
    wrap(Late(scene)).segment_bare(clip).save(folder / "run" / "bare", overlay=False)
    write_truth(scene.truth(clip, ids="binary"), folder / "truth")
    return folder / "run", result


def write_truth(masks, folder):
    folder.mkdir()
    for t, mask in enumerate(masks):
        Image.fromarray(mask.numpy().astype(np.uint8) * 255).save(folder / f"clip_{t:04d}.png")

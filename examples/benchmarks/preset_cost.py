"""Processor seconds of the parts of the presets, at their real sizes with random weights.

    OMP_NUM_THREADS=1 python examples/benchmarks/preset_cost.py

Nothing is downloaded: the models are built from the configs of the released ones, and what they
find is noise. `seconds` are those of all cores together, so that other work on the machine does not
count much. The parts are `saliency` (a keyframe of `offline`), `appearance` (a frame of 640 x 360),
`ast` (a window), `clipseg` and `owlv2` (a picture and a word), `sam2` (tiny: the image encoder).
"""

import argparse
import time
from collections.abc import Callable

import torch
import transformers

from coprop_plugin.keyframes import load_sounding_object
from coprop_plugin.propagation import AppearancePropagator
from coprop_plugin.types import Clip

WORDS = torch.randint(5, 400, (1, 8), generator=torch.Generator().manual_seed(0))


def _saliency() -> tuple[object, Callable[[], object]]:
    model = load_sounding_object()
    clip = Clip(torch.rand(1, 3, 360, 640), torch.randn(16_000) * 0.1)
    return model, lambda: model.segment_keyframes(clip, [0])


def _appearance() -> tuple[object, Callable[[], object]]:
    propagator, frame = AppearancePropagator(), torch.rand(1, 3, 360, 640)
    masks = torch.zeros(1, 360, 640, dtype=torch.long)
    masks[:, 100:200, 200:400] = 1
    memory = propagator.start(frame, None, masks)
    return propagator, lambda: propagator.step(memory, frame, None)


def _ast() -> tuple[object, Callable[[], object]]:
    config = transformers.ASTConfig(num_labels=527)
    model = transformers.ASTForAudioClassification(config).eval()
    return model, lambda: model(torch.randn(1, 1024, 128))


def _clipseg() -> tuple[object, Callable[[], object]]:
    model = transformers.CLIPSegForImageSegmentation(transformers.CLIPSegConfig()).eval()
    pixels = torch.randn(1, 3, 352, 352)
    return model, lambda: model(input_ids=WORDS, pixel_values=pixels)


def _owlv2() -> tuple[object, Callable[[], object]]:
    config = transformers.Owlv2Config(vision_config=dict(image_size=960, patch_size=16))
    model = transformers.Owlv2ForObjectDetection(config).eval()
    inputs = dict(input_ids=WORDS, attention_mask=torch.ones_like(WORDS))
    return model, lambda: model(pixel_values=torch.randn(1, 3, 960, 960), **inputs)


def _sam2() -> tuple[object, Callable[[], object]]:
    model = transformers.Sam2Model(transformers.Sam2Config()).eval()
    return model, lambda: model.get_image_embeddings(torch.randn(1, 3, 1024, 1024))


PARTS = dict(
    saliency=_saliency,
    appearance=_appearance,
    ast=_ast,
    clipseg=_clipseg,
    owlv2=_owlv2,
    sam2=_sam2,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    print(f"{'part':12} {'million parameters':>20} {'seconds':>8}")
    for name in options.parts.split(","):
        model, run = PARTS[name]()
        counted = model.parameters() if isinstance(model, torch.nn.Module) else ()
        millions = sum(parameter.numel() for parameter in counted) / 1e6
        with torch.inference_mode():
            began = time.process_time()
            run()
            seconds = time.process_time() - began
        print(f"{name:12} {millions:20.1f} {seconds:8.2f}", flush=True)


if __name__ == "__main__":
    main()

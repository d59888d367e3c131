"""Time and memory of the parts of the presets, at their real sizes with random weights.

    OMP_NUM_THREADS=1 python examples/benchmarks/preset_cost.py
    python examples/benchmarks/preset_cost.py --device cuda --dtype bfloat16

Nothing is downloaded: the models are built from the configs of the released ones, and what they
find is noise. On a CPU `seconds` are those of all cores together, so that other work on the machine
does not count much; on a GPU they are wall-clock seconds of a second run. `working` is the peak
memory above that of the weights: of the process on a CPU, of tensors on a GPU.

The parts are `saliency` (a keyframe of `offline`), `appearance` (a frame of 640 x 360), `ast` (a
window), `clipseg` and `owlv2` (a picture and a word), `sam2` (tiny: the image encoder),
`sam2_video` and `sam2_small_video` (tiny and small: the third frame after a keyframe, with one
object, as the propagator `sam2` runs it), `pe_audio` (ten seconds), `sam3` (a picture and a word).
Those from `pe_audio` on have 610 and 840 million parameters, and are run if `--parts` names them.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from coprop_plugin.benchmark.plug_and_play.cost import measured
from coprop_plugin.keyframes import load_sounding_object
from coprop_plugin.propagation import AppearancePropagator, Sam2Propagator
from coprop_plugin.types import Clip

Part = tuple[object, Callable[[], object]]
WORDS = torch.randint(5, 400, (1, 8), generator=torch.Generator().manual_seed(0))
SMALL = dict(blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13])


class Place:
    """The device and the precision of the models, and inputs for them."""

    def __init__(self, device: str, dtype: str) -> None:
        self.device, self.dtype = device, getattr(torch, dtype)

    def model(self, kind: str, config: object) -> torch.nn.Module:
        return getattr(transformers, kind)(config).eval().to(self.device, self.dtype)

    def noise(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def words(self) -> dict[str, torch.Tensor]:
        ids = WORDS.to(self.device)
        return dict(input_ids=ids, attention_mask=torch.ones_like(ids))


def _saliency(place: Place) -> Part:
    model = load_sounding_object().to(place.device, place.dtype)
    clip = Clip(torch.rand(1, 3, 360, 640), torch.randn(16_000) * 0.1)
    return model, lambda: model.segment_keyframes(clip, [0])


def _follow(propagator: object, side: tuple[int, int], frames_before: int) -> Part:
    frame = torch.rand(1, 3, *side)
    masks = torch.zeros(1, *side, dtype=torch.long)
    masks[:, side[0] // 3 : side[0] // 2, side[1] // 3 : side[1] // 2] = 1
    memory = propagator.start(frame, None, masks)
    for _ in range(frames_before):
        propagator.step(memory, frame, None)
    return propagator, lambda: propagator.step(memory, frame, None)


def _appearance(place: Place) -> Part:
    return _follow(AppearancePropagator(), (360, 640), 0)


def _ast(place: Place) -> Part:
    model = place.model("ASTForAudioClassification", transformers.ASTConfig(num_labels=527))
    return model, lambda: model(place.noise(1, 1024, 128))


def _clipseg(place: Place) -> Part:
    model = place.model("CLIPSegForImageSegmentation", transformers.CLIPSegConfig())
    return model, lambda: model(pixel_values=place.noise(1, 3, 352, 352), **place.words())


def _owlv2(place: Place) -> Part:
    config = transformers.Owlv2Config(vision_config=dict(image_size=960, patch_size=16))
    model = place.model("Owlv2ForObjectDetection", config)
    return model, lambda: model(pixel_values=place.noise(1, 3, 960, 960), **place.words())


def _sam2(place: Place) -> Part:
    model = place.model("Sam2Model", transformers.Sam2Config())
    return model, lambda: model.get_image_embeddings(place.noise(1, 3, 1024, 1024))


def _sam2_video(place: Place, **backbone: list[int]) -> Part:
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**backbone)
    )
    config = transformers.Sam2VideoConfig(vision_config=vision)
    with tempfile.TemporaryDirectory() as folder:
        transformers.Sam2VideoModel(config).save_pretrained(folder)
        dtype = str(place.dtype).removeprefix("torch.")
        propagator = Sam2Propagator(Path(folder), dtype=dtype).to(place.device)
    return _follow(propagator, (360, 640), 2)


def _pe_audio(place: Place) -> Part:
    model = place.model("PeAudioFrameLevelModel", transformers.PeAudioConfig())
    samples = place.noise(1, 1, 10 * 48_000)
    return model, lambda: model(input_values=samples, **place.words())


def _sam3(place: Place) -> Part:
    model = place.model("Sam3Model", transformers.Sam3Config())
    return model, lambda: model(pixel_values=place.noise(1, 3, 1008, 1008), **place.words())


PARTS: dict[str, Callable[[Place], Part]] = dict(
    saliency=_saliency,
    appearance=_appearance,
    ast=_ast,
    clipseg=_clipseg,
    owlv2=_owlv2,
    sam2=_sam2,
    sam2_video=_sam2_video,
    sam2_small_video=lambda place: _sam2_video(place, **SMALL),
    pe_audio=_pe_audio,
    sam3=_sam3,
)
LARGE = ("pe_audio", "sam3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(name for name in PARTS if name not in LARGE))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    place, on_gpu = Place(options.device, options.dtype), options.device != "cpu"
    print(f"{'part':16} {'million parameters':>20} {'seconds':>8} {'working, MB':>12}")
    for name in options.parts.split(","):
        with torch.inference_mode():
            model, run = PARTS[name](place)
            if on_gpu:
                run()
            gc.collect()
            _, before = measured(lambda: None)
            _, cost = measured(run)
        counted = model.parameters() if isinstance(model, torch.nn.Module) else ()
        millions = sum(parameter.numel() for parameter in counted) / 1e6
        seconds = cost.seconds if on_gpu else cost.cpu_seconds
        peaks = (before.gpu_mb, cost.gpu_mb) if on_gpu else (before.peak_mb, cost.peak_mb)
        working = "unknown" if None in peaks else f"{(peaks[1] - peaks[0]) * 2**20 / 1e6:.0f}"
        print(f"{name:16} {millions:20.1f} {seconds:8.2f} {working:>12}", flush=True)
        del model, run


if __name__ == "__main__":
    main()

"""Wrap a released AVSegFormer, and segment a video with it.

    python examples/wrap_avsegformer.py in.mp4 --checkout AVSegFormer \
        --config config/ms3/AVSegFormer_pvt2_ms3.py --weights AVSegFormer_pvt2_ms3.pth

`--checkout` is a clone of its authors' repository. No CUDA op needs compiling.
"""

import argparse
import sys
import types

import _tiny
import torch
from mmengine import Config

import coprop_plugin as coprop


def load(checkout, config, weights):
    # Its authors' code falls back to plain PyTorch where this compiled module is empty.
    sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("empty"))
    sys.path.insert(0, checkout)
    from model import build_model

    settings = Config.fromfile(f"{checkout}/{config}").model
    settings.backbone.init_weights_path = None  # what it would load is in `weights`
    settings.vggish.freeze_audio_extractor = False
    model = build_model(**settings)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--checkout")
    parser.add_argument("--config")
    parser.add_argument("--weights")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="a stand-in and a made-up clip")
    args = parser.parse_args()

    model = _tiny.avsegformer() if args.tiny else load(args.checkout, args.config, args.weights)
    wrapped = coprop.wrap(model)
    result = wrapped.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

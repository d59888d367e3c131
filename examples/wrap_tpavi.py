"""Wrap a TPAVI model (AVSBench's baseline), and segment a video with it.

    python examples/wrap_tpavi.py in.mp4 --checkout AVSBench/avs_scripts/avs_ms3 \
        --weights MS3_best.pth --vggish vggish-10086976.pth

TPAVI hears VGGish embeddings, so VGGish's public weights are needed too; without --vggish they are
looked for in the COPROP_VGGISH variable, then downloaded.
"""

import argparse
import sys
from types import SimpleNamespace

import _tiny
import torch

import coprop_plugin as coprop


def load(checkout, weights):
    sys.path.insert(0, checkout)
    from model.ResNet_AVSModel import Pred_endecoder

    class Model(Pred_endecoder):
        def initialize_weights(self):
            """Load no ImageNet weights: those in `weights` replace them."""

    model = Model(256, SimpleNamespace(), tpavi_stages=[0, 1, 2, 3], tpavi_va_flag=True)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--checkout")
    parser.add_argument("--weights")
    parser.add_argument("--vggish")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="a stand-in and a made-up clip")
    args = parser.parse_args()

    model = _tiny.tpavi() if args.tiny else load(args.checkout, args.weights)
    vggish = _tiny.vggish() if args.tiny else args.vggish
    # "window" shows the model five frames around each keyframe, as it was trained; "frame" one.
    wrapped = coprop.wrap(model, backend=dict(type="tpavi", vggish=vggish, context="window"))
    result = wrapped.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

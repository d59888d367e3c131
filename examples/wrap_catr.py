"""Wrap a CATR model, and segment a video with it.

    python examples/wrap_catr.py in.mp4 --checkout CATR --weights S4_best.pth \
        --vggish vggish-10086976.pth

CATR masks are 1/16 of its input; its adapter picks the best of its 50 queries in every frame.
"""

import argparse
import sys

import _tiny
import torch

import coprop_plugin as coprop


def load(checkout, weights):
    sys.path.insert(0, checkout)
    from model.PVT_AVSModel import Pred_endecoder

    class Model(Pred_endecoder):
        def initialize_pvt_weights(self, **kwargs):
            """Load no ImageNet weights: those in `weights` replace them."""

    state = torch.load(weights, map_location="cpu", weights_only=True)
    model = Model(d_model=256, nheads=8, dropout=0.1, dim_feedforward=2048)
    model.load_state_dict(state)
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

    model = _tiny.catr() if args.tiny else load(args.checkout, args.weights)
    vggish = _tiny.vggish() if args.tiny else args.vggish
    wrapped = coprop.wrap(model, backend=dict(type="catr", vggish=vggish))
    result = wrapped.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

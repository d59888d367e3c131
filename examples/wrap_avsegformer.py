"""Segment a video with AVSegFormer, from its weights alone.

    python examples/wrap_avsegformer.py in.mp4 --weights MS3_pvt_best.pth

Its checkpoint includes VGGish. To wrap an instance of the authors' code: `coprop.wrap(model)`.
"""

import argparse

import _tiny

import coprop_plugin as coprop


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--weights")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="an untrained toy and a synthetic clip")
    args = parser.parse_args()

    weights = _tiny.weights("avsegformer") if args.tiny else args.weights
    model = coprop.wrap("avsegformer", weights=weights)
    result = model.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

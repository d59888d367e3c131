"""Segment a video with TPAVI (AVSBench's baseline), from its weights alone.

    python examples/wrap_tpavi.py in.mp4 --weights MS3_best.pth --vggish vggish-10086976.pth

TPAVI hears VGGish embeddings, so VGGish's public weights are needed too; without --vggish they are
looked for in the COPROP_VGGISH variable, then downloaded. A model that was made with its authors'
code is wrapped as it is: `coprop.wrap(model)`.
"""

import argparse

import _tiny

import coprop_plugin as coprop


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--weights")
    parser.add_argument("--vggish", help="a file of its public weights")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="an untrained toy and a synthetic clip")
    args = parser.parse_args()

    weights = _tiny.weights("tpavi") if args.tiny else args.weights
    # "window" shows the model five frames around each keyframe, as it was trained; "frame" one.
    backend = dict(type="tpavi", vggish=args.vggish, context="window")
    model = coprop.wrap("tpavi", weights=weights, backend=backend)
    result = model.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

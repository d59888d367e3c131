"""Segment a video with TPAVI (AVSBench's baseline), from its weights alone.

    python examples/wrap_tpavi.py in.mp4 --weights MS3_best.pth --vggish vggish-10086976.pth

TPAVI takes VGGish embeddings, so VGGish's public weights are needed, too: --vggish, else the file
that COPROP_VGGISH names, else a download. To wrap an instance of the authors' code:
`coprop.wrap(model)`.
"""

import argparse

import _tiny

import coprop_plugin as coprop


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--weights")
    parser.add_argument("--vggish", help="file of VGGish's public weights")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="an untrained toy and a synthetic clip")
    args = parser.parse_args()

    weights = _tiny.weights("tpavi") if args.tiny else args.weights
    # "window": five frames around each keyframe, as in training; "frame": the keyframe alone.
    backend = dict(type="tpavi", vggish=args.vggish, context="window")
    model = coprop.wrap("tpavi", weights=weights, backend=backend)
    result = model.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

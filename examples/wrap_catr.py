"""Segment a video with CATR, from its weights alone.

    python examples/wrap_catr.py in.mp4 --weights S4_best.pth --vggish vggish-10086976.pth

CATR takes VGGish embeddings, as TPAVI does. Its masks have 1/16 of its input's size; the adapter
selects the best of its 50 queries in every frame. To wrap an instance of the authors' code:
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

    weights = _tiny.weights("catr") if args.tiny else args.weights
    model = coprop.wrap("catr", weights=weights, backend=dict(type="catr", vggish=args.vggish))
    result = model.segment(_tiny.video() if args.tiny else args.video)
    print(result.control_points)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

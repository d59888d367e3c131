"""Build a wrapped model from an mmengine config file, as training scripts do.

    python examples/mmengine_config.py in.mp4 --config my_config.py

The config needs a `model`, such as the one written below.
"""

import argparse
import tempfile
from pathlib import Path

import _tiny
from mmengine import Config
from mmengine.registry import MODELS

CONFIG = """
model = dict(
    type="coprop_plugin.CoProp",
    backend=dict(type="MMSegBackend", model=dict(
        type="mmseg.EncoderDecoder",
        data_preprocessor=dict(type="mmseg.SegDataPreProcessor", bgr_to_rgb=True),
        backbone=dict(type="mmseg.ResNetV1c", depth=18, base_channels=8, out_indices=(0, 1, 2, 3)),
        decode_head=dict(type="mmseg.FCNHead", in_channels=64, in_index=3, channels=8,
                         num_classes=19, norm_cfg=dict(type="BN")),
        test_cfg=dict(mode="whole"),
    )),
    control_points=dict(type="every_n", n=5),
    propagator=dict(type="HoldPropagator"),
)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--config")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="a synthetic clip and the config above")
    args = parser.parse_args()
    if args.tiny:
        args.config = Path(tempfile.mkdtemp()) / "tiny.py"
        args.config.write_text(CONFIG)

    model = MODELS.build(Config.fromfile(args.config).model)
    result = model.segment(_tiny.video() if args.tiny else args.video, fps=2)
    print(result.control_points, tuple(result.masks.shape))
    print(result.save(args.out))


if __name__ == "__main__":
    main()

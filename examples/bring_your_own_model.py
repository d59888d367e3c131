"""Wrap a model that no adapter knows: a class of your own with one method.

python examples/bring_your_own_model.py in.mp4 -o out
"""

import argparse

import _tiny
import torch
from torch import nn

import coprop_plugin as coprop
from coprop_plugin.audio.log_mel import clip_log_mel


class MyModel(nn.Module):
    """Your model: an image and a log-mel in, logits at a quarter of the size out."""

    def __init__(self):
        super().__init__()
        self.visual = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.auditory = nn.Linear(64, 8)

    def forward(self, pictures, log_mels):
        loudness = self.auditory(log_mels.mean((1, 2)))
        return (self.visual(pictures) * loudness[:, :, None, None]).sum(1, keepdim=True)


class MyBackend(nn.Module):
    """The adapter: the number of classes, and the segmentation of a clip's frames."""

    num_classes = 1

    def __init__(self, model):
        super().__init__()
        self.model = model

    def segment_keyframes(self, clip, indices):
        pictures = (clip.rgb(indices) - 0.45) / 0.225
        logits = self.model(pictures, clip_log_mel(clip)[list(indices)])
        return nn.functional.interpolate(logits, clip.size, mode="bilinear")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("-o", "--out", default="out")
    parser.add_argument("--tiny", action="store_true", help="a synthetic clip")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = coprop.wrap(MyBackend(MyModel()))
    result = model.segment(_tiny.video() if args.tiny else args.video, fps=2, progress=True)
    print(result.save(args.out))


if __name__ == "__main__":
    main()

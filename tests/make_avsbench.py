"""Tiny data sets in AVSBench's layouts."""

import csv
import io
import json
import pickle
import wave

import numpy as np
import torch
from PIL import Image

CLASSES = ["background", "bird", "dog", "girl", "piano", "violin", "wolf", "man", "car", "cat"]


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def picture(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8), mode).save(path)


def frames(size, number, seed=0):
    height, width = size
    rng = np.random.default_rng(seed)
    # Large patches, so that JPEG keeps them.
    small = rng.integers(0, 256, (number, height // 8, width // 8, 3))
    return small.repeat(8, 1).repeat(8, 2).astype(np.uint8)


def sound(path, seconds, seed=0, sample_rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 3000, int(seconds * sample_rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())


def mask(size, value, place=0):
    out = np.zeros(size, np.uint8)
    out[:8, 8 * place : 8 * place + 8] = value
    return out


def colour(label):
    """AVSBench's colour of a class, worked out by hand for the first few."""
    by_hand = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    by_hand += [(0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0)]
    return np.array(by_hand, np.uint8)[label]


def pickled_log_mel(path, log_mel):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(log_mel))


def make_ms3(root, clips, size=(16, 24)):
    """`clips` is {id: (split, "01011")}: in which frames something sounds."""
    table(
        root / "ms3_meta_data.csv",
        ["video_id", "split"],
        [[name, split] for name, (split, _) in clips.items()],
    )
    data = root / "ms3_data"
    for seed, (name, (split, sounding)) in enumerate(clips.items()):
        for i, pixels in enumerate(frames(size, 5, seed), 1):
            picture(data / f"visual_frames/{name}/{name}.mp4_{i}.png", pixels)
            value = 255 * int(sounding[i - 1])
            picture(data / f"gt_masks/{split}/{name}/{name}_{i}.png", mask(size, value))
        sound(data / f"audio_wav/{split}/{name}.wav", 5, seed)
        log_mel = torch.full((5, 1, 96, 64), float(seed), requires_grad=bool(seed % 2))
        pickled_log_mel(data / f"audio_log_mel/{split}/{name}.pkl", log_mel)
    return root


def make_s4(root, clips, size=(16, 24)):
    """`clips` is {id: (category, split)}."""
    table(
        root / "s4_meta_data.csv",
        ["name", "start", "category", "split"],
        [[name, "3", category, split] for name, (category, split) in clips.items()],
    )
    for seed, (name, (category, split)) in enumerate(clips.items()):
        data, here = root / "s4_data", f"{split}/{category}"
        num_labelled = 1 if split == "train" else 5
        for i, pixels in enumerate(frames(size, 5, seed), 1):
            picture(data / f"visual_frames/{here}/{name}/{name}_{i}.png", pixels)
            if i <= num_labelled:
                picture(data / f"gt_masks/{here}/{name}/{name}_{i}.png", mask(size, 255))
        sound(data / f"audio_wav/{here}/{name}.wav", 5, seed)
    return root


def make_avss(root, clips, size=(16, 24)):
    """`clips` is {uid: (vid, subset, split, [class of each labelled frame])}."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "label2idx.json").write_text(json.dumps({n: i for i, n in enumerate(CLASSES)}))
    table(
        root / "metadata.csv",
        ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"],
        [[vid, uid, 0, 0, "x", split, subset] for uid, (vid, subset, split, _) in clips.items()],
    )
    for seed, (uid, (_, subset, _, classes)) in enumerate(clips.items()):
        here = root / subset / uid
        number = 10 if subset == "v2" else 5
        for i, pixels in enumerate(frames(size, number, seed)):
            picture(here / f"frames/{i}.jpg", pixels)
        for i, label in enumerate(classes):
            labels = mask(size, label, place=i % 3)
            picture(here / f"labels_rgb/{i}.png", colour(labels))
            picture(here / f"labels_semantic/{i}.png", labels)
        sound(here / "audio.wav", number, seed)
    return root


class Opens:
    """A pickle of this creates a file when it is unpickled freely."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class NestedIn:
    """A pickle of this hides another one in the bytes of a torch storage."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.inner,)


def storage_bytes(thing, new_format):
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=new_format)
    return buffer.getvalue()

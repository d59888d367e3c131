"""Fit the head by which `sounding_object` tells people from other salient things.

    python examples/data/person_head.py PHOTOGRAPHS ASSETS sounding_object.safetensors

PHOTOGRAPHS holds photographs of one person each. The network that ships cuts the people out, and
they are pasted among the cut-outs of ASSETS (laid out as in `docs/world.md`) into its backgrounds.
The head is fitted on what the network's maps are inside of these objects, inside of what is
salient of them, and in the photographs and backgrounds as they are. Frames of the split `val` with
the people of `--held-out` choose the weight decay.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coprop_plugin.keyframes import SoundingObject, load_sounding_object, save_sounding_object
from coprop_plugin.keyframes.person_head import large_things
from coprop_plugin.layers import resized
from coprop_plugin.world import Assets, PhotographicScene
from coprop_plugin.world.photographic_assets import CutOut, photographs_in, read_background

KIND = "person"
SIDE = 320
EVERYTHING = torch.zeros(SIDE, SIDE, dtype=torch.long)


def frame_of(pixels: np.ndarray) -> Tensor:
    """Return a picture `[H, W, 3]` uint8 as `[1, 3, S, S]` in [0, 1]."""
    return resized(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, (SIDE, SIDE))


@torch.no_grad()
def seen(model: SoundingObject, frame: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the salience `[1, 1, S, S]` of a frame and the network's maps, each `[C, h, w]`."""
    with torch.autocast("cpu", torch.bfloat16):
        salience, maps = model.relative_salience(frame)
    return salience, [values[0].float() for values in maps]


def with_people(assets: Assets, people: list[CutOut]) -> Assets:
    """Return assets of which a third are people."""
    others = tuple(c for c in assets.cut_outs if c.kind != KIND)
    people = people + [c for c in assets.cut_outs if c.kind == KIND]
    times = max(1, len(others) // (2 * len(people)))
    kinds = tuple(sorted({*assets.kinds, KIND}))
    return replace(assets, kinds=kinds, cut_outs=others + tuple(people) * times)


class Regions:
    """What the head is fitted on: pooled maps of regions, and whether they are people."""

    def __init__(self, model: SoundingObject) -> None:
        self.model, self.pooled, self.labels = model, [], []

    def add(self, frame: Tensor, owner: Tensor, is_person: list[bool]) -> Tensor:
        """Add objects and salient things of a frame; returns its salience `[1, 1, S, S]`.

        Args:
            frame: `[1, 3, S, S]`.
            owner: `[S, S]`, the object that each pixel shows, -1 where nothing is known of it.
            is_person: For every object, from 0.
        """
        salience, maps = seen(self.model, frame)
        things = large_things(salience[0, 0] > 0.5)
        objects = [owner == number for number in range(1, len(is_person))]
        objects = [mask for mask in objects if mask.float().mean() > 0.005]
        for mask in [*things, *objects]:
            inside = owner[mask]
            most = int(inside.mode().values)
            if most >= 0 and (inside == most).float().mean() > 0.6:
                regions = mask[None].float()
                self.pooled.append(self.model.person.pooled(maps, regions)[0])
                self.labels.append(is_person[most])
        return salience

    def add_scenes(self, assets: Assets, count: int, first_seed: int) -> None:
        """Add one frame each of photographic scenes."""
        for seed in range(first_seed, first_seed + count):
            scene = PhotographicScene.drawn(assets, seed, size=(SIDE, SIDE))
            time_s = float(np.random.default_rng(seed).uniform(0, scene.duration_s))
            person = [False, *(scene.kinds[thing.kind] == KIND for thing in scene.objects)]
            owner = torch.from_numpy(scene.owners(time_s).astype(np.int64))
            self.add(scene.frames([time_s]) / 255, owner, person)

    def add_backgrounds(self, paths: Sequence[Path]) -> None:
        """Add what is salient of photographs without people."""
        for path in paths:
            self.add(frame_of(read_background(path)), EVERYTHING, [False])

    def add_people(self, folder: Path) -> list[CutOut]:
        """Add what is salient of photographs of people, and cut it out.

        Returns:
            The cut-outs, written to a folder beside the photographs.
        """
        found = []
        (folder / "cut_out").mkdir(exist_ok=True)
        for path in photographs_in(folder):
            pixels = read_background(path)
            salience = resized(self.add(frame_of(pixels), EVERYTHING, [True]), pixels.shape[:2])
            alpha = (1.4 * salience[0, 0] - 0.2).clamp(0, 1) * 255
            file = folder / "cut_out" / f"{path.stem}.png"
            Image.fromarray(np.dstack([pixels, alpha.byte().numpy()])).save(file)
            found.append(CutOut(file, KIND))
        return found

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return pooled maps `[N, 2 C]` and labels `[N]`."""
        return torch.stack(self.pooled), torch.tensor(self.labels).float()


def fitted(pooled: Tensor, labels: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression on balanced classes; returns its weights `[2 C]` and bias."""
    mean, spread = pooled.mean(0), pooled.std(0) + 1e-3
    inputs = (pooled - mean) / spread
    weight = torch.zeros(pooled.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    balance = torch.where(labels > 0, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            inputs @ weight + bias, labels, weight=balance
        )
        loss = loss + decay * weight.square().sum() / len(inputs)
        loss.backward()
        return loss

    optimizer.step(closure)
    weight = weight.detach() / spread
    return weight, bias.detach() - weight @ mean


def area_under_curve(scores: Tensor, labels: Tensor) -> float:
    """Return how often a person scores above something else."""
    return float((scores[labels > 0][:, None] > scores[labels < 1]).float().mean())


def main() -> None:
    """Fit the head, and save it with the network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("assets", type=Path)
    parser.add_argument("safetensors", type=Path)
    parser.add_argument("--held-out", type=Path, help="Photographs of other people, to choose by.")
    parser.add_argument("--scenes", type=int, default=100)
    arguments = parser.parse_args()
    shipped = load_sounding_object()
    model = SoundingObject(people=True).eval()
    model.saliency.load_state_dict(shipped.saliency.state_dict())
    splits = {}
    folders = dict(train=arguments.photographs, val=arguments.held_out or arguments.photographs)
    for number, (split, folder) in enumerate(folders.items()):
        assets = Assets.from_folder(arguments.assets, split)
        regions = Regions(model)
        people = regions.add_people(folder)
        print(f"{split}: {len(people)} photographs of people", flush=True)
        regions.add_backgrounds(assets.backgrounds[:: max(1, len(assets.backgrounds) // 50)])
        scenes = arguments.scenes // (number + 1)
        regions.add_scenes(with_people(assets, people), scenes, 10_000 * number)
        splits[split] = regions.tensors()
        print(f"{split}: {len(regions.labels)} regions, {sum(regions.labels)} of people")
    best = -1.0
    for decay in (1.0, 10.0, 100.0, 1000.0):
        weight, bias = fitted(*splits["train"], decay)
        pooled, labels = splits["val"]
        scores = pooled @ weight + bias
        area = area_under_curve(scores, labels)
        right = float(((scores > 0) == (labels > 0)).float().mean())
        print(f"decay {decay:g}: area under the curve {area:.3f}, right {right:.3f}")
        if area > best:
            best = area
            model.person.linear.weight.copy_(weight[None])
            model.person.linear.bias.copy_(bias[None])
    save_sounding_object(model, arguments.safetensors, torch.float16)


if __name__ == "__main__":
    main()

"""Listeners and finders that know the truth of a made-up scene, at the boundary of the models."""

from types import SimpleNamespace

import torch

from coprop_plugin.control_points.listening import Activity
from coprop_plugin.open_vocabulary import Instance, Sam3Finder
from coprop_plugin.world import KINDS

NAMES = [kind.name for kind in KINDS]


class ScriptedEar:
    """A detector with given probabilities, a row each `row_s`; counts how often it is called."""

    model_id = "scripted"

    def __init__(self, row_s=0.5, **rows):
        self.row_s, self.rows, self.calls = row_s, rows, 0

    def activity(self, waveform, sample_rate, categories):
        self.calls += 1
        names = tuple(name for name in categories if name in self.rows)
        columns = [torch.tensor(self.rows[name], dtype=torch.float32) for name in names]
        probs = torch.stack(columns, dim=1) if columns else torch.zeros(1, 0)
        return Activity(names, probs, self.row_s)


class PerfectEar:
    """A detector that knows when each object of a scene sounds, to 10 ms."""

    model_id = "perfect"

    def __init__(self, scene):
        self.scene = scene

    def activity(self, waveform, sample_rate, categories):
        rows = torch.arange(round(self.scene.duration_s * 100)) / 100 + 0.005
        names = tuple(categories)
        probs = torch.zeros(len(rows), len(names))
        for thing in self.scene.objects:
            for start, end in thing.events:
                probs[(start <= rows) & (rows < end), names.index(NAMES[thing.kind])] = 1.0
        return Activity(names, probs, 0.01)


class ScriptedEye:
    """A finder that finds the same boxes of each word in any picture; counts its calls."""

    model_id = "scripted"

    def __init__(self, **boxes):
        self.boxes, self.calls = boxes, []

    def find(self, picture, words):
        self.calls.append(tuple(words))
        return [
            [self._filled(picture, box, 0.9) for box in self.boxes.get(word, ())] for word in words
        ]

    def in_boxes(self, picture, word, boxes):
        return [self._filled(picture, box, 1.0) for box in boxes]

    def _filled(self, picture, box, score):
        left, top, right, bottom = map(round, box)
        logits = torch.full(picture.shape[-2:], -5.0)
        logits[top:bottom, left:right] = 5.0
        return Instance(tuple(map(float, box)), score, logits)


class PerfectSam3:
    """In place of a `Sam3Model`: knows the picture, and answers with a scene's true masks.

    Masks are a little smaller than the model's input, as the real one's are, and unsure queries
    stand beside the sure ones.
    """

    def __init__(self, scene, clip, side=160):
        self.scene, self.side = scene, side
        backbone = SimpleNamespace(image_size=side)
        self.config = SimpleNamespace(
            vision_config=SimpleNamespace(backbone_config=backbone),
            text_config=SimpleNamespace(max_position_embeddings=8),
        )
        self._pictures = self._small(clip.rgb()) * 2 - 1
        self._owners = [torch.from_numpy(scene.owners(float(t))) for t in clip.times]

    def _small(self, pictures):
        size = (self.side, self.side)
        return torch.nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True)

    def parameters(self):
        return iter([torch.zeros(1)])

    def get_vision_features(self, pixels):
        return int((self._pictures - pixels).abs().mean((1, 2, 3)).argmin())

    def __call__(self, vision_embeds, input_ids, attention_mask):
        kind = int(input_ids[0, 0])
        owners = self._owners[vision_embeds]
        places = [n for n, o in enumerate(self.scene.objects, start=1) if o.kind == kind]
        shown = torch.stack([(owners == n).float() for n in [*places, 0]])[None]
        masks = torch.nn.functional.interpolate(shown, (self.side, self.side), mode="bilinear")
        sure = [8.0 if (owners == n).any() else -8.0 for n in places]
        return SimpleNamespace(
            pred_logits=torch.tensor([[*sure, -8.0]]),
            presence_logits=torch.tensor([[8.0]]),
            pred_masks=masks * 16 - 8,
        )

    def finder(self):
        """Return the finder that uses it, whose tokens are the places of `KINDS`."""
        return Sam3Finder(self, self._tokens, "perfect")

    @staticmethod
    def _tokens(word, **options):
        ids = torch.tensor([[NAMES.index(word)]])
        words = SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))
        words.to = lambda device: words
        return words

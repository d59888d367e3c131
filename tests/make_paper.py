"""AVSBench in miniature, toy weights under the names of the paper's rows, a scripted server."""

import base64
import io
import runpy
import shutil
import wave
from pathlib import Path

import numpy as np
import torch
from chat_server import ChatServer, answers
from make_weights import as_aot
from tiny_pretrained import save_clip_text
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR

from coprop_plugin.adapters import save_released
from coprop_plugin.adapters.avsegformer import AVSegFormer
from coprop_plugin.adapters.catr import CATR
from coprop_plugin.adapters.tpavi import TPAVI
from coprop_plugin.benchmark.scripted_llm import ScriptedLLM
from coprop_plugin.control_points import Store
from coprop_plugin.keyframes import KeyframeProcessor, save_keyframe_processor
from coprop_plugin.propagation import AudioInsertPropagator, save_propagator

SIZE = (32, 48)
NUM_CLASSES = 11
SETS = ("s4", "ms3", "avss")
_SENSES = {name: TOY_PROCESSOR[name] for name in ("backbone", "audio_encoder")}
_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def make_avsbench(root, train=1, test=1):
    """Write S4, MS3 and AVSS with labels of the same clips; returns the folder of each."""
    script = runpy.run_path(str(_EXAMPLES / "data/synthetic_avsbench.py"))
    return script["write_avsbench"](root, dict(train=train, val=1, test=test), SIZE)


def _families():
    yield (
        "tpavi",
        lambda classes: TPAVI(classes, **_SENSES, width=16, head_widths=(8, 8), input_size=32),
    )
    small = dict(width=16, heads=2, hidden=16, num_queries=4, dropout=0.0)
    yield (
        "catr",
        lambda _: CATR(
            **_SENSES,
            **(small | dict(width=64)),
            fusion_heads=2,
            clip_hidden=16,
            mask_width=8,
            input_size=32,
        ),
    )
    yield (
        "avsegformer",
        lambda classes: AVSegFormer(
            classes, **_SENSES, **small, layers=1, points=2, listening_hidden=16, freeze_audio=False
        ),
    )


def make_weights(folder):
    """Write toy weights under names that the tables look for; some are left out."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    for family, make in _families():
        path = save_released(make(1), folder / f"{family}_resnet50_s4.safetensors")
        # One family with the other backbone is enough.
        for name in ("s4", "ms3") if family == "tpavi" else ():
            shutil.copy(path, folder / f"{family}_pvt_v2_b5_{name}.safetensors")
    save_released(make(NUM_CLASSES), folder / "avsegformer_resnet50_avss.safetensors")
    for name in SETS:
        processor = KeyframeProcessor(NUM_CLASSES if name == "avss" else 1, **TOY_PROCESSOR)
        for stage in ("keyframes", "keyframes_1b"):
            # As training leaves it: a folder with the weights.
            save_keyframe_processor(processor, folder / f"{name}_{stage}" / "weights.safetensors")
    for variant, layers in (("", (0, 1, 2, 3)), ("_1_layer", (3,))):
        propagator = AudioInsertPropagator(**TOY_PROPAGATOR, insert_layers=layers)
        for name in SETS:
            save_propagator(propagator, folder / f"{name}_propagator{variant}.safetensors")
    _make_text_guided(folder)
    toy = {k: v for k, v in TOY_PROPAGATOR.items() if not k.startswith("audio")}
    aot = AudioInsertPropagator(**toy, insert_layers=(), audio_identity=False)
    torch.save({"state_dict": as_aot(aot)}, folder / "R50_AOTL_PRE_YTB_DAV.pth")
    return folder


def _make_text_guided(folder):
    """Write the weights of Table 4, with a text encoder of their own beside them."""
    encoder = str(save_clip_text(folder / "clip"))
    text = dict(model=encoder, embedding_dim=12, local_files_only=True)
    for name in ("s4", "ms3"):
        processor = KeyframeProcessor(1, **TOY_PROCESSOR, guidance="text", text=text)
        save_keyframe_processor(
            processor, folder / f"{name}_keyframes_text" / "weights.safetensors"
        )
        propagator = AudioInsertPropagator(**TOY_PROPAGATOR, tokens="text", text=text)
        save_propagator(propagator, folder / f"{name}_propagator_text.safetensors")


class ScriptedServer(ChatServer):
    """A chat-completions server whose answers are the truth of a data set's clips, by their audio.

    To a prompt that says "every frame" it answers that every frame is a control point.
    """

    def __init__(self, dataset):
        super().__init__(self._reply)
        labelled = Store.build(dataset, classes=dataset.classes)
        categories = {example.id: example.categories for example in labelled}
        self.llm = ScriptedLLM(dataset, categories=categories)

    def _reply(self, handler):
        body = handler.server.requests[-1]["body"]
        waveform, rate = _audio_of(body["messages"])
        schema = body.get("response_format")
        answer = self.llm(body["messages"], waveform, rate, schema)
        if schema is not None and "every frame" in str(body["messages"][-1]["content"]):
            answer = answer.replace("0", "1")
        answers(answer)(handler)


def _audio_of(messages):
    """Return the waveform of a request, and its rate."""
    first = next(m["content"] for m in messages if isinstance(m["content"], list))
    data = base64.b64decode(first[0]["input_audio"]["data"])
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return torch.from_numpy(samples.astype(np.float32) / 32768), file.getframerate()

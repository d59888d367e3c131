"""Everything that reads a file or an answer of somebody else's, and good inputs to break."""

import io
import json
import math
import os
import pickle
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from fuzz_inputs import broken_bytes, broken_json
from fuzz_watch import WATCH
from hypothesis import strategies as st

from coprop_plugin.errors import CopropError

MOST_S = 5.0
READERS = {}


@dataclass(frozen=True)
class Reader:
    """A reader and what to give it.

    Args:
        name: Of the reader.
        file: Where in a folder the input lies.
        read: Called with the folder.
        seeds: Makes good inputs, in an empty folder.
        words: Of its JSON; None if it reads none.
        tokens: Bytes that mean something to it.
        beside: Makes what else the folder must hold.
        good: A pattern that the outcome of at least one good input must match: "read", or the
            message of a refusal that comes after all of it was read.
        names_limit: Whether a file that is too large is refused in words that name the limit; false
            where it counts as damaged, or as a file of another kind.
    """

    name: str
    file: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[bytes]]
    words: Sequence[str] | None = None
    tokens: Sequence[bytes] = ()
    beside: Callable[[Path], object] = lambda folder: None
    good: str = "read"
    names_limit: bool = True

    def inputs(self, folder):
        """Return a strategy of broken inputs."""
        seeds = self.seeds(folder)
        if self.words is not None:
            return broken_json(seeds, self.words)
        return broken_bytes(seeds, self.tokens)


def reader(name, file, seeds, **more):
    def add(read):
        READERS[name] = Reader(name, file, read, seeds, **more)
        return read

    return add


def hold(reader, folder, content, most_s=MOST_S):
    """Read an input; raise AssertionError, or the reader's error, if a promise is broken."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    start = time.process_time()
    with WATCH.on(folder) as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _tried(reader.read, folder)
    took_s = time.process_time() - start
    assert took_s < most_s, f"took {took_s:.1f} s"
    assert not seen, f"did what no reader may: {seen}"


def opens(path="PWNED"):
    """Return what makes a file when it is unpickled."""

    class Opens:
        def __reduce__(self):
            return open, (path, "w")

    return Opens()


# Media.


def _videos(folder):
    from make_media import chirp, write_video

    made = []
    webm = dict(vcodec="libvpx-vp9", acodec="libopus")
    kinds = dict(mp4={}, mkv={}, ts={}, mov=dict(rotation=90), webm=webm)
    for suffix, more in kinds.items():
        # Few and small pictures; some know no sound of 16 kHz.
        rate = 48_000 if suffix in ("ts", "webm") else 16_000
        path = folder / f"seed.{suffix}"
        times = [k / 8 for k in range(4)]
        write_video(path, times, chirp(0.5, rate), sample_rate=rate, size=(16, 16), **more)
        made.append(path.read_bytes())
        path.unlink()
    return made


@reader(
    "video",
    "in.mp4",
    _videos,
    tokens=[b"moov", b"mdat", b"trak", b"stts", b"tkhd", b"#EXTM3U"],
    names_limit=False,
)
def _read_video(folder):
    from coprop_plugin.media import probe, read_clip

    path = folder / "in.mp4"
    clip = read_clip(path, fps=4)
    assert probe(path, fps=4).times.tolist() == clip.times.tolist()
    assert torch.isfinite(clip.waveform).all()


_CODECS = dict(mp3="mp3", flac="flac", ogg="libopus")


def _sounds(folder):
    from make_avsbench import sound
    from make_media import chirp, nan_wav, write_video

    made = [folder / f"{number}" for number in range(5)]
    sound(made[0], 0.2)
    nan_wav(made[1], 0.1)
    for path, suffix in zip(made[2:], ("mp3", "flac", "ogg"), strict=True):
        named = path.with_suffix(f".{suffix}")
        rate, layout = (48_000, "stereo") if suffix == "ogg" else (16_000, "mono")
        samples = chirp(0.2, rate, 2 if layout == "stereo" else 1)
        write_video(named, None, samples, sample_rate=rate, layout=layout, acodec=_CODECS[suffix])
        named.rename(path)
    return [path.read_bytes() for path in made]


@reader(
    "sound",
    "in.wav",
    _sounds,
    tokens=[b"RIFF", b"fmt ", b"data", b"OggS", b"fLaC", b"ID3"],
    names_limit=False,
)
def _read_sound(folder):
    from coprop_plugin.audio.log_mel import log_mel_examples
    from coprop_plugin.media import read_waveform

    waveform, sample_rate = read_waveform(folder / "in.wav")
    assert torch.isfinite(log_mel_examples(waveform, sample_rate)).all()


def _pictures(folder):
    import numpy as np
    from PIL import Image

    from coprop_plugin.benchmark.datasets.read_pictures import avsbench_palette

    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 2, (12, 16), np.uint8))
    colours = Image.fromarray(avsbench_palette()[rng.integers(0, 71, (12, 16))])
    palette = grey.copy()
    palette.putpalette(avsbench_palette().tobytes())
    made = []
    for picture, kind in ((grey, "PNG"), (colours, "PNG"), (palette, "PNG"), (colours, "JPEG")):
        into = io.BytesIO()
        picture.save(into, kind)
        made.append(into.getvalue())
    return made


@reader(
    "picture",
    "in.png",
    _pictures,
    tokens=[b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"iTXt"],
    names_limit=False,
)
def _read_picture(folder):
    from coprop_plugin.benchmark.datasets import read_pictures

    for read in (
        read_pictures.binary_mask,
        read_pictures.colour_labels,
        read_pictures.index_labels,
    ):
        _tried(read, folder / "in.png")
    read_pictures.read_frames([folder / "in.png"], 8, "crop")


def _cut_outs(folder):
    from PIL import Image

    into = io.BytesIO()
    Image.radial_gradient("L").resize((12, 16)).convert("RGBA").save(into, "PNG")
    return [into.getvalue(), *_pictures(folder)]


@reader(
    "cut-out",
    "in.png",
    _cut_outs,
    tokens=[b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"eXIf"],
    names_limit=False,
)
def _read_cut_out(folder):
    from coprop_plugin.world.photographic_assets import read_background, read_cut_out

    # Results are kept by path; each input lies at the same one.
    read_background.cache_clear()
    read_cut_out.cache_clear()
    _tried(read_background, folder / "in.png")
    read_cut_out(folder / "in.png")


def _tried(read, *arguments):
    """Read; what is refused in our own words is as good as read."""
    try:
        return read(*arguments)
    except CopropError:
        return None


# Annotations.


@cache
def _clip():
    from coprop_plugin.types import Clip

    return Clip(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(80_000), name="clip")


def _points(folder):
    from coprop_plugin.types import ControlPoints

    points = ControlPoints([1, 0, 0, 1, 0], "novelty", silent=[0, 0, 0, 1, 1], starts_s=[0, 2.9])
    whole = points.to_dict(_clip().times)
    kinds = [whole, [1, 0, 1, 0, 0], {"seconds": [0, 2.5]}, {"clips": {"clip": whole}}]
    kinds += [{"indices": [0, 3], "num_frames": 5}, {"type": "every_n", "n": 2}]
    return [json.dumps(kind).encode() for kind in kinds]


POINT_WORDS = (
    "flags indices num_frames seconds silent starts_s log source clips failed type".split()
)


@reader(
    "control_points",
    "points.json",
    _points,
    words=[*POINT_WORDS, "clip", "file", "every_n", "path"],
)
def _read_points(folder):
    from coprop_plugin.control_points import as_provider

    as_provider(folder / "points.json").propose(_clip())


def _annotations(folder):
    from coprop_plugin.media import write_annotations
    from coprop_plugin.types import Annotation

    made = Annotation((0.0, 1.25, 2.8), (("girl",), (), ("dog", "girl")), 5.0)
    for kind in ("audacity", "textgrid"):
        write_annotations(folder, {"clip": made}, kind)
    for kind in ("rttm", "csv", "json"):
        write_annotations(folder / f"clip.{kind}", {"clip": made}, kind)


def _of_kind(suffix):
    def seeds(folder):
        _annotations(folder)
        return [(folder / f"clip{suffix}").read_bytes()]

    def read(folder):
        from coprop_plugin.media import read_annotations

        for made in read_annotations(folder / f"clip{suffix}").values():
            made.control_points(_clip())
            made.to_dict()

    return seeds, read


ANNOTATION_TOKENS = {
    ".txt": [b"\t", b"\n", b"\\", b"1e308", b"nan", b"?"],
    ".TextGrid": [b'"', b"IntervalTier", b"TextTier", b"<exists>", b" 999999999 ", b"\xff\xfe"],
    ".rttm": [b"SPEAKER", b" ", b"<NA>", b"-1", b"inf"],
    ".csv": [b",", b'"', b"end_s", b"nan", b"\r"],
}
for _suffix, _tokens in ANNOTATION_TOKENS.items():
    _seeds, _read = _of_kind(_suffix)
    reader(f"annotation{_suffix}", f"clip{_suffix}", _seeds, tokens=_tokens)(_read)
_seeds, _read = _of_kind(".json")
reader("annotation.json", "clip.json", _seeds, words=["clips", "clip", "seconds", "names"])(_read)


def _tables(folder):
    s4 = "name,category,start_time,split\nabc,dog,0,train\nabd,cat,1.5,test\n"
    ms3 = "\ufeffvideo_id,start_second,split\r\nabc,0,train\r\n"
    avss = "vid,uid,s_min,a_obj,split,label\na,a_1,0,dog,train,v1s\nb,b_2,0,cat,test,v2\n"
    return [text.encode() for text in (s4, ms3, avss)]


def _beside_tables(folder):
    (folder / "label2idx.json").write_text('{"background": 0, "dog": 1}')


TABLE_TOKENS = [
    b",",
    b'"',
    b"\r",
    b"..",
    b"/etc/passwd",
    b"C:\\",
    b"split",
    b"train",
    b"v2",
    b"\xc2",
]


@reader(
    "table", "table.csv", _tables, tokens=TABLE_TOKENS, beside=_beside_tables, names_limit=False
)
def _read_table(folder):
    from coprop_plugin.benchmark.datasets import AVSS, MS3, S4

    for kind in (S4, MS3, AVSS):
        dataset = _tried(lambda k=kind: k(folder, split=None, meta=folder / "table.csv"))
        if dataset is not None:
            outside = [path for path in dataset.missing() if not path.is_relative_to(folder)]
            assert not outside
            assert not any(".." in path.parts for path in dataset.missing())
            _tried(dataset.__getitem__, 0)
    _tried(_ids, folder / "table.csv")


def _ids(path):
    from coprop_plugin.benchmark.datasets import read_ids

    return read_ids(path)


@reader(
    "labels",
    "label2idx.json",
    lambda folder: [b'{"background": 0, "dog": 1, "cat": 2}'],
    words=["background", "dog", "cat"],
    beside=lambda folder: (folder / "table.csv").write_bytes(_tables(folder)[2]),
)
def _read_labels(folder):
    from coprop_plugin.benchmark.datasets import AVSS

    AVSS(folder, split=None, meta=folder / "table.csv")


def _log_mels(folder):
    log_mel = torch.zeros(1, 1, 96, 64)
    things = [log_mel, log_mel.numpy(), opens(), [log_mel, opens()], log_mel.double()[:, :, ::2]]
    return [pickle.dumps(thing, protocol) for thing in things for protocol in (2, 4)]


PICKLE_TOKENS = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"\x93",
    b"R",
    b".",
    b"(",
    b"t",
    b"}",
    b"\x82",
]
PICKLE_TOKENS += [
    b"(S'touch PWNED'\ntR.",
    b"r\xff\xff\xff\xff",
    b"\x8b\xff\xff\xff\x7f",
    b"Q",
    b"b",
]


@reader("log_mel", "in.pkl", _log_mels, tokens=PICKLE_TOKENS, names_limit=False)
def _read_log_mel(folder):
    from coprop_plugin.benchmark.datasets import read_log_mel

    read_log_mel(folder / "in.pkl")


def _stores(folder):
    from coprop_plugin.control_points import Example

    embedding = tuple(map(float, range(128)))
    lines = [
        Example("a", ("dog", "girl"), (1, 0, 1), 3.0, "hash", embedding).to_line(),
        '{"categories": ["dog"], "control_points": [1, 0, 0, 1, 0]}',
    ]
    return [line.encode() for line in lines]


STORE_WORDS = "id categories control_points duration_s content embedding log_mel dog".split()


@reader("store", "store.jsonl", _stores, words=STORE_WORDS)
def _read_store(folder):
    from coprop_plugin.control_points import Store

    store = Store.load(folder / "store.jsonl")
    store.retrieve("a dog barks")
    assert store.version


@reader(
    "own_clips",
    "clips.jsonl",
    lambda folder: [b'{"clip": "a.wav", "categories": ["dog"], "seconds": [0, 0.1], "id": "x"}'],
    words="clip categories seconds id a.wav dog ../a.wav /etc/passwd".split(),
    beside=lambda folder: (folder / "a.wav").write_bytes(_sounds(folder)[0]),
)
def _read_own_clips(folder):
    from coprop_plugin.benchmark import index_into

    out, path = folder / "out.jsonl", folder / "clips.jsonl"
    _tried(lambda: index_into(out, "world", scenes=0, categories=path))
    index_into(out, str(path))


def _answer_file(folder):
    found = sorted((folder / "answers").glob("*.jsonl"))
    return found[0] if found else None


def _cached(folder):
    from coprop_plugin.control_points.llm import CachedLLM

    llm = CachedLLM(dict(type="callable", function=_says, model_id="m"), folder / "answers")
    question = [{"role": "user", "content": "What sounds here?"}]
    return llm.chat(question, torch.zeros(16), 16_000)


def _says(messages, waveform, sample_rate):
    return "a dog"


def _answers(folder):
    _cached(folder)
    return [_answer_file(folder).read_bytes()]


@reader(
    "answer_cache",
    "answer.jsonl",
    _answers,
    words="format key answer question coprop.answer/2".split(),
)
def _read_answer_cache(folder):
    os.replace(folder / "answer.jsonl", _answer_file(folder))
    assert isinstance(_cached(folder), str)


def _manifests(folder):
    from coprop_plugin.batch import Manifest, Outcome

    Manifest(folder, dict(fps=1)).add(Outcome(Path("a.mp4"), "failed", error="It is empty."))
    return [(folder / "manifest.jsonl").read_bytes()]


@reader("manifest", "manifest.jsonl", _manifests, words="input state output error settings".split())
def _read_manifest(folder):
    from coprop_plugin.batch import Manifest

    assert isinstance(Manifest.read(folder), dict)


def _run(folder):
    """Write a results folder, with a video of its own to show."""
    from make_results import result_of

    from coprop_plugin.types import Clip

    sound = torch.linspace(-0.5, 0.5, 3 * 16_000)
    clip = Clip(torch.zeros(3, 3, 48, 64, dtype=torch.uint8), sound, 16_000)
    return result_of(clip, class_id=2, num_classes=3).save(folder / "run")


RESULT_WORDS = (
    "format version source size num_frames num_classes class_names sampling times about "
    "options input source_digest made_with edited digests coprop.result/1 avsbench pts ../in.mp4"
).split()


@reader(
    "result",
    "run/result.json",
    lambda folder: [(_run(folder) / "result.json").read_bytes()],
    words=RESULT_WORDS,
    beside=_run,
    names_limit=False,
)
def _read_result(folder):
    from coprop_plugin.media import PreviousResult, class_names, export
    from coprop_plugin.report import PageVideo, read_run, render_run_page

    _tried(lambda: PreviousResult.read(folder / "run").painted())
    _tried(export, folder / "run", "coco")
    run = read_run(folder / "run")
    names = class_names(run.content["num_classes"], known=run.content.get("class_names"))
    # The page alone: its small video is made in a folder of its own.
    shown = PageVideo((48, 64), 3.0, torch.zeros(16_000), 16_000, "")
    assert "coprop_plugin" in render_run_page(run, shown, names)


ANSWERS = [
    'Sure! {"control_points": [1, 0, 0, 1, 0]}',
    "```json\n[true, false, false, true, false]\n```",
    "0:00-0:03 a dog\n0:03-0:05 a girl",
    "frame 1: 1, frame 2: 0, frame 3: 0, frame 4: 1, frame 5: 0",
    "<think>hm</think> final answer: 1, 0, 0, 1, 0",
    "frames 1-3: dog\nframes 4-5: girl; [0, 3] 2.5 s to 3 s",
]
ANSWER_TOKENS = [
    t.encode() for t in ("[", "]", "0:03", "1e5", "٣", "½", "²", "—", "1" * 5000, "`", ":")
]


@reader("answer", "answer.txt", lambda folder: [a.encode() for a in ANSWERS], tokens=ANSWER_TOKENS)
def _read_answer(folder):
    from coprop_plugin.control_points.language import read_names
    from coprop_plugin.control_points.parsing import parse_flags

    text = (folder / "answer.txt").read_text("utf-8", errors="surrogateescape")
    _tried(read_names, text)
    flags = parse_flags(text, 5)
    assert len(flags) == 5
    assert set(flags) <= {0, 1}


def _prompts(folder):
    return [b"What changes in the $number seconds? $categories", b"$$5 for $count frames"]


@reader(
    "prompts", "mine/one_step_list.txt", _prompts, tokens=[b"$", b"${", b"}", b"$number", b"\xff"]
)
def _read_prompts(folder):
    from coprop_plugin.control_points.prompts import Prompts

    prompts = Prompts(folder / "mine")
    prompts.text("one_step_list", 10, categories="dog")


# Weights.


@cache
def _toy_processor():
    from toy_training import TOY_PROCESSOR

    from coprop_plugin.keyframes import KeyframeProcessor

    torch.manual_seed(0)
    return KeyframeProcessor(**TOY_PROCESSOR)


@cache
def _toy_propagator():
    from coprop_plugin.propagation import AudioInsertPropagator

    torch.manual_seed(0)
    shape = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
    quiet = dict(insert_layers=(), audio_identity=False, short_term_radius=1)
    return AudioInsertPropagator("AOTT", **shape, **quiet)


def _safetensors(folder):
    from coprop_plugin.keyframes import save_keyframe_processor
    from coprop_plugin.propagation import save_propagator

    made = [save_keyframe_processor(_toy_processor(), folder / "seed", torch.float16)]
    made.append(save_propagator(_toy_propagator(), folder / "seed2", torch.float16))
    return [path.read_bytes() for path in made]


CONFIG_TOKENS = [
    text.encode()
    for text in (
        '\\"width\\": 99999999,',
        '\\"num_layers\\": 99999999,',
        '\\"guide\\": \\"subprocess.Popen\\",',
        '\\"audio_encoder\\": {\\"type\\": \\"os.system\\", \\"command\\": \\"touch PWNED\\"},',
        '"dtype":"F64"',
        '"shape":[99999999]',
    )
]


@reader("safetensors", "in.safetensors", _safetensors, tokens=CONFIG_TOKENS)
def _read_safetensors(folder):
    from coprop_plugin.keyframes import load_keyframe_processor
    from coprop_plugin.propagation.checkpoint import load

    _tried(load_keyframe_processor, folder / "in.safetensors")
    load(folder / "in.safetensors")


def _saved(thing, **options):
    into = io.BytesIO()
    torch.save(thing, into, **options)
    return into.getvalue()


def _aot_weights(folder):
    from make_weights import as_aot

    state = as_aot(_toy_propagator())
    state["LSTT.mask_token"] = torch.zeros(1, 1, 16)
    wide = {name: x[:1].expand(10**6, *x.shape[1:]) for name, x in state.items() if x.ndim}
    hostile = {"state_dict": state, "meta": opens()}
    return [_saved(state), _saved({"state_dict": state}, **_OLD), _saved(wide), _saved(hostile)]


_OLD = dict(_use_new_zipfile_serialization=False)


@reader("aot_weights", "in.pth", _aot_weights, tokens=PICKLE_TOKENS)
def _read_aot_weights(folder):
    from coprop_plugin.propagation.checkpoint import load

    load(folder / "in.pth")


TRAINED = {"meta": {"iter": 4}, "state_dict": {"w": torch.zeros(3)}}
TRAINED |= {"message_hub": {}, "optimizer": {"lr": 1e-4}}


def _trained(folder):
    return [_saved(TRAINED), _saved(TRAINED, **_OLD), _saved({"a": opens()}), b""]


@reader(
    "checkpoint",
    "iter_4.pth",
    _trained,
    tokens=[*PICKLE_TOKENS, b"state_dict", b"optimizer"],
)
def _read_checkpoint(folder):
    from coprop_plugin.training.whole_checkpoints import last_whole_checkpoint

    assert last_whole_checkpoint(folder) == folder / "iter_4.pth"


# It is passed over if it is too large.
@reader(
    "last_checkpoint",
    "last_checkpoint",
    lambda folder: [b"iter_4.pth", b"/elsewhere/iter_4.pth\n", b"", b"iter_3.pth"],
    tokens=[b"..", b"/", b"\0", b".pth"],
    beside=lambda folder: (folder / "iter_4.pth").write_bytes(_saved(TRAINED)),
    names_limit=False,
)
def _read_last_checkpoint(folder):
    from coprop_plugin.training.whole_checkpoints import last_whole_checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert last_whole_checkpoint(folder) is not None


def _released_weights(folder):
    """Some names of each family, with tensors of their shapes that take no room in the file."""
    from make_weights import released_shapes

    made = [_saved({"a": opens()})]
    for name in ("tpavi_r50_avss", "avsegformer_r50_s4", "catr_pvt_s4"):
        shapes = list(released_shapes(name).items())
        step = math.ceil(len(shapes) / 40)
        state = {key: torch.zeros(()).expand(shape) for key, (_, shape) in shapes[::step]}
        made += [_saved(state), _saved({"model": state}, **_OLD)]
    return made


# A whole file would fill a model of 400 MB, which `test_released` does once.
@reader(
    "released_weights",
    "in.pth",
    _released_weights,
    tokens=PICKLE_TOKENS,
    good="CheckpointError: The 40 weights in .* are of no known family",
)
def _read_released_weights(folder):
    from coprop_plugin.adapters import load_released

    load_released(folder / "in.pth")


def _network_folder(folder):
    _toy_processor().save_pretrained(folder / "network")
    return [(folder / "network" / "config.json").read_bytes()]


@reader(
    "hub_config",
    "network/config.json",
    _network_folder,
    words="format config width num_classes backbone coprop_plugin.KeyframeProcessor/1".split(),
    beside=_network_folder,
)
def _read_network_folder(folder):
    from coprop_plugin.keyframes import KeyframeProcessor

    KeyframeProcessor.from_pretrained(folder / "network")


@reader(
    "vggish",
    "in.pth",
    lambda folder: [_saved({"features.0.bias": torch.zeros(64)}), _saved({"a": opens()})],
    tokens=PICKLE_TOKENS,
    good="CheckpointError: Expected the names of torchvggish's file.*missing",
)
def _read_vggish(folder):
    from coprop_plugin.audio.vggish import load_vggish

    load_vggish(folder / "in.pth")


# Lists and journals.


@reader(
    "class_names",
    "names.txt",
    lambda folder: [b"silent\ndog\ncat\n", b'["silent", "dog", "cat"]'],
    tokens=[b"\n", b"\r", b"\xff", b"["],
)
def _read_class_names(folder):
    from coprop_plugin.media import class_names

    assert len(class_names(3, file=folder / "names.txt")) == 3


@reader(
    "inputs",
    "inputs.txt",
    lambda folder: [b"# videos\na.mp4\n../b.mov\n"],
    tokens=[b"\n", b"\0", b"#", b"\xff", b"@"],
)
def _read_inputs(folder):
    from coprop_plugin.batch import find_inputs

    assert find_inputs([folder / "inputs.txt"])


def _json_lines(folder):
    from coprop_plugin.media import JsonLines

    lines = JsonLines(folder / "lines.jsonl")
    lines.append({"key": "a", "times": [0.0, 0.5], "shape": [4, 4, 1]})
    return [lines.path.read_bytes(), b'{"key": "b"}']


@reader("json_lines", "lines.jsonl", _json_lines, words="key times shape control_points".split())
def _read_json_lines(folder):
    from coprop_plugin.media import JsonLines

    lines = JsonLines(folder / "lines.jsonl")
    assert all(isinstance(record, dict) for record in lines.read())


def contents(reader, folder):
    """Return the reader's inputs, and see to it that the folder is ready for them."""
    folder.mkdir(parents=True, exist_ok=True)
    strategy = reader.inputs(folder)
    assert isinstance(strategy, st.SearchStrategy)
    reader.beside(folder)
    return strategy

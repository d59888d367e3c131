"""What our parts give their models is what transformers' own processors would give them.

The processors of SAM 2, SAM 3 and EdgeTAM, and the exact ones of the detectors, need torchvision;
their tests are skipped without it, and run in a job of `.github/workflows/ci.yml`.
"""

import pytest
import torch
import transformers
from tiny_finders import SAVE, clip_tokenizer
from tiny_pretrained import save_clap, save_pe_audio, tokenizer
from tiny_trackers import SAM3_SIDE, SIDE, save_tracker

from coprop_plugin.benchmark import untrained_clap, untrained_sed
from coprop_plugin.control_points.listening import load_detector
from coprop_plugin.open_vocabulary import load_finder
from coprop_plugin.propagation import as_propagator

WORDS = ["dog", "violin"]
SIZE = (48, 80)
RATE = 16_000
LEVEL = 2 / 255
"""A step of 8-bit pixels in [-1, 1]: processors round after they resize, our parts do not."""


@pytest.fixture(scope="module")
def vision():
    """transformers' classes, where torchvision is installed and works."""
    pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    return transformers


@pytest.fixture(scope="module")
def picture():
    """A picture `[3, H, W]` of whole bytes."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 20, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 1)
    return (fine[0] * 255).round() / 255


def bytes_of(picture):
    return (picture * 255).byte()


def given_to(module, run):
    """Run something; returns all tensors that it calls a module with, by name or by place."""
    calls = []

    def note(module, args, kwargs):
        named = {k: v for k, v in kwargs.items() if isinstance(v, torch.Tensor)}
        calls.append(dict(enumerate(args)) | named)

    hook = module.register_forward_pre_hook(note, with_kwargs=True)
    run()
    hook.remove()
    return calls


def assert_pixels(ours, theirs, std=0.5):
    """Equal but for the rounding to whole bytes."""
    off = (ours - theirs).abs() * std * 2
    assert ours.shape == theirs.shape
    assert float(off.max()) < 1.01 * LEVEL
    assert float(off.mean()) < LEVEL / 3


TRACKERS = {
    "sam2": ("Sam2VideoProcessor", SIDE, {}),
    "edgetam": ("Sam2VideoProcessor", SIDE, {}),
    "sam3": ("Sam3TrackerVideoProcessor", SAM3_SIDE, dict.fromkeys(("image_mean", "image_std"))),
}


def video_processor(vision, name):
    kind, side, means = TRACKERS[name]
    options = dict(size=dict(height=side, width=side)) | dict.fromkeys(means, [0.5] * 3)
    images = vision.Sam3ImageProcessor if means else vision.Sam2ImageProcessor
    made = images(**options), vision.Sam2VideoVideoProcessor(**options)
    return getattr(vision, kind)(*made)


@pytest.fixture(scope="module", params=TRACKERS)
def tracker(request, vision, tmp_path_factory):
    folder = save_tracker(request.param, tmp_path_factory.mktemp(request.param))
    return request.param, as_propagator(f"{request.param}:{folder}")


def test_frames_of_trackers(vision, tracker, picture):
    name, propagator = tracker
    frames = torch.stack([picture, picture.flip(2)])
    theirs = video_processor(vision, name).video_processor(bytes_of(frames), return_tensors="pt")
    assert_pixels(propagator.pixels(frames), theirs.pixel_values_videos[0], 0.225)
    assert_pixels(propagator.pixels(bytes_of(frames)), theirs.pixel_values_videos[0], 0.225)


def test_prompts_of_trackers(vision, tracker, picture):
    name, propagator = tracker
    masks = torch.zeros(1, *SIZE, dtype=torch.long)
    masks[0, 3:21, 5:40], masks[0, 25:40, 31:71] = 1, 2
    prompts = []
    hook = propagator.model.register_forward_pre_hook(
        lambda model, args: prompts.append([dict(m) for m in prompts_of(args[0])])
    )
    (session,) = propagator.start(picture[None], None, masks).sessions
    hook.remove()
    theirs = type(session)(video=propagator.pixels(picture[None]), dtype=torch.float32)
    video_processor(vision, name).add_inputs_to_inference_session(
        theirs, 0, [1, 2], input_masks=[(masks[0] == n).numpy() for n in (1, 2)]
    )
    for ours, expected in zip(prompts[0], prompts_of(theirs), strict=True):
        assert ours.keys() == expected.keys() == {0}
        assert torch.equal(ours[0], expected[0])


def prompts_of(session):
    """The masks of each object by frame."""
    return [session.mask_inputs_per_obj[n] for n in range(2)]


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    """A finder of tiny models, by name."""
    root, made = tmp_path_factory.mktemp("finders"), {}

    def of(name):
        for part in name.split("+"):
            made.setdefault(part, str(SAVE[part](root / part)))
        return load_finder("+".join(made[part] for part in name.split("+")), least_score=1e-6)

    return of


def test_pictures_and_boxes_of_sam2(vision, finder, picture):
    boxes = [(3.0, 4.0, 33.0, 40.0), (41.0, 2.0, 79.0, 47.0)]
    found = finder("owlv2+sam2")
    side = dict(height=SIDE, width=SIDE)
    processor = vision.Sam2Processor(vision.Sam2ImageProcessor(size=side))
    inputs = processor(
        images=bytes_of(picture), input_boxes=[[list(box) for box in boxes]], return_tensors="pt"
    )
    (seen,) = given_to(found.model.vision_encoder, lambda: found.in_boxes(picture, "dog", boxes))
    assert_pixels(next(iter(seen.values())), inputs["pixel_values"], 0.225)
    (asked,) = given_to(found.model, lambda: found.in_boxes(picture, "dog", boxes))
    torch.testing.assert_close(asked["input_boxes"], inputs["input_boxes"].float())


def test_pictures_and_words_of_sam3(vision, finder, picture):
    found = finder("sam3")
    side = int(found.model.config.vision_config.backbone_config.image_size)
    images = vision.Sam3ImageProcessor(size=dict(height=side, width=side))
    inputs = vision.Sam3Processor(images, clip_tokenizer()[0])(
        images=bytes_of(picture), text="dog", return_tensors="pt"
    )
    (seen,) = given_to(found.model.vision_encoder, lambda: found.find(picture, ["dog"]))
    assert_pixels(next(iter(seen.values())), inputs["pixel_values"])
    (asked,) = given_to(found.model, lambda: found.find(picture, ["dog"]))
    # They pad to 32 tokens, the length of the released model; the tiny one takes 16.
    length = asked["input_ids"].shape[1]
    assert torch.equal(asked["input_ids"], inputs["input_ids"][:, :length])
    assert torch.equal(asked["attention_mask"], inputs["attention_mask"][:, :length])


EXACT = {
    "owlv2": ("Owlv2ImageProcessor", "owlv2+sam2", dict(height=96, width=96)),
    "grounding_dino": (
        "GroundingDinoImageProcessor",
        "grounding_dino+sam2",
        dict(shortest_edge=64, longest_edge=96),
    ),
    "clipseg": ("ViTImageProcessor", "clipseg", dict(height=64, width=64)),
}


@pytest.mark.parametrize("name", EXACT)
def test_pictures_of_detectors_without_torchvision(vision, finder, picture, name):
    kind, source, size = EXACT[name]
    found = finder(source)
    model = found.model if name == "clipseg" else found.detector.model
    (given,) = given_to(model, lambda: found.find(picture, WORDS))
    theirs = getattr(vision, kind)(size=size)(bytes_of(picture), return_tensors="pt")
    for row in given["pixel_values"]:
        assert_pixels(row[None], theirs["pixel_values"], 0.25)


@pytest.fixture(scope="module")
def waveform():
    return 0.2 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))


def test_windows_of_ast(tmp_path, waveform):
    made = untrained_sed(["Speech", "Bark"]).listener.detector
    made.model.save_pretrained(tmp_path)
    made.extractor.save_pretrained(tmp_path)
    detector = load_detector(str(tmp_path))
    (given,) = given_to(detector.model, lambda: detector.activity(waveform, RATE, None))
    # The third window, of a second at a hop of a quarter, is centred on 0.625 s.
    alone = transformers.ASTFeatureExtractor(max_length=100, num_mel_bins=32)
    theirs = alone(
        waveform[2000:18_000].numpy(), sampling_rate=RATE, return_tensors="pt"
    ).input_values
    torch.testing.assert_close(given["input_values"][2:3], theirs)


def test_windows_and_words_of_clap(tmp_path, waveform):
    save_clap(tmp_path, untrained_clap())
    tokenizer().save_pretrained(tmp_path)
    detector = load_detector(str(tmp_path))
    rate = detector.extractor.sampling_rate
    long = waveform.repeat(2)
    given = given_to(detector.model.audio_model, lambda: detector.activity(long, rate, WORDS))
    processor = transformers.ClapProcessor(detector.extractor, tokenizer())
    second = long[round(0.125 * rate) : round(1.125 * rate)].numpy()
    theirs = processor(audio=[second], sampling_rate=rate, return_tensors="pt")
    torch.testing.assert_close(given[0]["input_features"][2:3], theirs["input_features"])


def test_sound_and_words_of_pe_audio(tmp_path, waveform):
    folder = str(save_pe_audio(tmp_path))
    detector = load_detector(folder)
    rate = detector.processor.feature_extractor.sampling_rate
    (given,) = given_to(detector.model, lambda: detector.activity(waveform, rate, WORDS))
    theirs = transformers.PeAudioProcessor.from_pretrained(folder)(
        text=WORDS, audio=[waveform.numpy()], sampling_rate=rate, padding=True, return_tensors="pt"
    )
    for name in ("input_values", "input_ids", "attention_mask"):
        torch.testing.assert_close(given[name], theirs[name])

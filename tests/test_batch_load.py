"""Models and providers named on a command line."""

import sys

import pytest
from torch import nn

from coprop_plugin.batch import (
    find_inputs,
    load_backend,
    load_propagator,
    load_provider,
    make_model,
)
from coprop_plugin.errors import AdapterError, ControlPointError, UnknownNameError
from coprop_plugin.media import MediaWarning

FILE = """
from parts_of_{name} import level

def model(frames, audio):
    return frames[:, :1] - level

def provider():
    import more_of_{name}
    from coprop_plugin.control_points.providers import EveryNProvider
    return EveryNProvider(more_of_{name}.n)
"""


def test_a_file_can_import_its_neighbours_and_sys_path_is_restored(tmp_path):
    (tmp_path / "own_model.py").write_text(FILE.format(name="own_model"))
    (tmp_path / "parts_of_own_model.py").write_text("level = 0.5\n")
    (tmp_path / "more_of_own_model.py").write_text("n = 7\n")
    path = list(sys.path)
    _, adapter = load_backend(f"{tmp_path / 'own_model.py'}:model")
    assert adapter == "callable"
    assert load_provider(f"{tmp_path / 'own_model.py'}:provider").n == 7
    assert sys.path == path


def test_sys_path_is_restored_after_a_module_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "model_right_here.py").write_text("def model(frames, audio):\n    return frames\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_backend("model_right_here:model")[1] == "callable"
    assert sys.path == path


CALLABLES = """
from collections.abc import Callable
from typing import Union

import torch
from torch import nn

def plain(frames, audio):
    return frames[:, :1]

def anything(*args):
    frames, audio = args
    return frames[:, :1]

def with_option(frames, audio, scale=2.0):
    return scale * frames[:, :1]

def tensor(frames, audio) -> torch.Tensor:
    return frames[:, :1]

def makes(weights=None):
    return nn.Linear(1, 1)

def needs_weights(weights):
    return nn.Linear(1, 1)

def annotated(size=1, depth=2) -> nn.Module:
    return nn.Linear(size, depth)

def as_text(*args) -> "nn.Linear":
    return nn.Linear(1, 1)

def either() -> Union[nn.Module, None]:
    return nn.Linear(1, 1)

def a_function(*sizes) -> Callable:
    return plain

class Model(nn.Module):
    pass

def one(frames):
    return frames

def three(frames, audio, text):
    return frames

def wrong() -> nn.Module:
    return 3

def raises() -> nn.Module:
    raise KeyError("width")

def two_sizes(width, depth) -> nn.Module:
    return nn.Linear(width, depth)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "callables.py"
    path.write_text(CALLABLES)
    (tmp_path / "weights.pth").write_bytes(b"")
    return path


@pytest.mark.parametrize("name", ["plain", "anything", "with_option", "tensor"])
def test_functions_of_frames_and_audio_are_backends(file, name):
    made, adapter = load_backend(f"{file}:{name}")
    assert (made.__name__, adapter) == (name, "callable")


@pytest.mark.parametrize("name", ["makes", "annotated", "as_text", "either", "Model"])
def test_factories_are_called(file, name):
    made, adapter = load_backend(f"{file}:{name}")
    assert isinstance(made, nn.Module)
    assert adapter == "auto"


def test_a_factory_can_return_a_function_or_take_weights(file):
    assert load_backend(f"{file}:a_function")[1] == "callable"
    made, _ = load_backend(f"{file}:needs_weights", file.with_name("weights.pth"))
    assert isinstance(made, nn.Module)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("one", r"taken for a function of \(frames, audio\), but cannot be called.*too many"),
        ("three", r"taken for a function of \(frames, audio\), but .*missing.*'text'.*-> torch"),
        ("wrong", "called to make a model and returned a int"),
        ("raises", "called with no arguments, because it declares.*KeyError: 'width'"),
        ("two_sizes", "called with no arguments, because it declares.*missing 2 required"),
        ("needs_weights", "called with no arguments.*missing 1 required.*'weights'"),
    ],
)
def test_errors_tell_how_the_object_was_called(file, name, says):
    with pytest.raises(AdapterError, match=says):
        load_backend(f"{file}:{name}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reanchor": "sometimes"}, "--reanchor to be auto, uncertain, never, SECONDS"),
        ({"reanchor": "atuo"}, "Did you mean auto"),
        ({"keyframe": "firts"}, "--keyframe to be first, confident.*Did you mean first"),
        ({"preset": "fats"}, "Did you mean fast"),
    ],
)
def test_options_are_refused_in_the_words_of_the_command_line(file, options, says):
    with pytest.raises(ControlPointError, match=says):
        make_model(f"{file}:plain", **options)


def test_a_misspelt_propagator_is_recognised():
    with pytest.raises(UnknownNameError, match="Did you mean flow"):
        load_propagator("flwo")


def test_weights_for_a_plain_function_are_refused(file):
    with pytest.raises(AdapterError, match="no --weights.*-> torch"):
        load_backend(f"{file}:plain", file.with_name("weights.pth"))


def test_a_folder_stands_for_its_videos_whatever_else_is_in_it(tmp_path):
    names = ["a.3gp", "b.MP4", "c.mxf", "._a.3gp", ".b.mp4", "notes.txt", "sub/d.mp4", "e.mov/f"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.warns(MediaWarning, match="the folders sub in it, which are left out"):
        found = find_inputs([tmp_path])
    assert [path.name for path in found] == ["a.3gp", "b.MP4", "c.mxf"]

"""Models and providers that a command line names are loaded without a trace in the process."""

import sys

from coprop_plugin.batch.load import load_backend, load_provider

FILE = """
from parts_of_{name} import level

def model(frames, audio):
    return frames[:, :1] - level

def provider():
    import more_of_{name}
    from coprop_plugin.control_points.providers import EveryNProvider
    return EveryNProvider(more_of_{name}.n)
"""


def test_a_file_imports_its_neighbours_and_leaves_the_path_as_it_was(tmp_path):
    (tmp_path / "own_model.py").write_text(FILE.format(name="own_model"))
    (tmp_path / "parts_of_own_model.py").write_text("level = 0.5\n")
    (tmp_path / "more_of_own_model.py").write_text("n = 7\n")
    path = list(sys.path)
    _, adapter = load_backend(f"{tmp_path / 'own_model.py'}:model")
    assert adapter == "callable"
    assert load_provider(f"{tmp_path / 'own_model.py'}:provider").n == 7
    assert sys.path == path


def test_a_module_in_the_current_folder_leaves_the_path_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "model_right_here.py").write_text("def model(frames, audio):\n    return frames\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_backend("model_right_here:model")[1] == "callable"
    assert sys.path == path

"""Log-mel pickles are read without being unpickled."""

import os
import pickle
import struct
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
import torch
from make_avsbench import NestedIn, Opens, storage_bytes
from torch._utils import _rebuild_tensor_v2

from coprop_plugin.benchmark.datasets import read_log_mel
from coprop_plugin.errors import DatasetError

LOG_MEL = torch.randn(5, 1, 96, 64, generator=torch.Generator().manual_seed(0))


def written(tmp_path, thing, protocol=None):
    path = tmp_path / "clip.pkl"
    path.write_bytes(thing if isinstance(thing, bytes) else pickle.dumps(thing, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "log_mel",
    [
        LOG_MEL,
        LOG_MEL.clone().requires_grad_(),
        LOG_MEL.double(),
        torch.cat([torch.zeros(2, 1, 96, 64), LOG_MEL])[2:],
        LOG_MEL.transpose(2, 3).contiguous().transpose(2, 3),
    ],
    ids=["plain", "requires_grad", "double", "slice", "transposed"],
)
def test_pickled_tensors_are_read_as_they_are(tmp_path, log_mel, protocol):
    found = read_log_mel(written(tmp_path, log_mel, protocol))
    assert found.dtype == torch.float32
    assert torch.equal(found, LOG_MEL)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_numpy_arrays_are_read_too(tmp_path, dtype, protocol):
    for array in (LOG_MEL.numpy().astype(dtype), np.asfortranarray(LOG_MEL.numpy(), dtype)):
        assert torch.equal(read_log_mel(written(tmp_path, array, protocol)), LOG_MEL)


class TensorOn:
    """A pickle of this is a tensor whose values are in any given thing."""

    def __init__(self, storage):
        self.storage = storage

    def __reduce__(self):
        shape, stride = (5, 1, 96, 64), (6144, 6144, 64, 1)
        return _rebuild_tensor_v2, (self.storage, 0, shape, stride, False, OrderedDict())


def harmless_until_read(trap):
    tensor = torch.zeros(5, 1, 96, 64)
    inner = storage_bytes([Opens(trap)], new_format=True)
    old_inner = storage_bytes([Opens(trap)], new_format=False)
    return {
        "alone": Opens(trap),
        "beside a tensor": (Opens(trap), tensor),
        "inside a storage": NestedIn(inner),
        "inside a storage of the old format": NestedIn(old_inner),
        "a pickle inside a storage": NestedIn(pickle.dumps(Opens(trap))),
        "as the storage of a tensor": TensorOn(NestedIn(old_inner)),
        "as another function": pickle.dumps(tensor).replace(b"torch._utils", b"builtins.abc"),
    }


@pytest.mark.parametrize("case", list(harmless_until_read("x")))
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    trap = tmp_path / "TRAP"
    path = written(tmp_path, harmless_until_read(trap)[case])
    with pytest.raises(DatasetError, match="clip.pkl.*log_mel='wav'"):
        read_log_mel(path)
    assert not trap.exists()
    assert os.listdir(tmp_path) == ["clip.pkl"]


def test_the_traps_of_these_tests_work(tmp_path):
    trap = tmp_path / "TRAP"
    pickle.loads(pickle.dumps(NestedIn(storage_bytes([Opens(trap)], new_format=False)))).clear()
    assert trap.exists()


def test_a_refusal_says_what_the_file_asks_for(tmp_path):
    with pytest.raises(DatasetError, match="refers to _?io.open.*Nothing in it was executed"):
        read_log_mel(written(tmp_path, Opens(tmp_path / "TRAP")))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.34, 0.9, 0.999])
def test_cut_files_are_refused_by_name(tmp_path, kept):
    content = pickle.dumps(LOG_MEL)
    path = written(tmp_path, content[: int(kept * len(content))])
    with pytest.raises(DatasetError, match="clip.pkl.*(damaged|not a pickled)"):
        read_log_mel(path)


def test_noise_is_refused_without_a_traceback(tmp_path):
    content = bytearray(pickle.dumps(LOG_MEL))
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(content)
        # The first 700 bytes hold the structure, the rest the values.
        for place in rng.integers(0, 700, 3):
            broken[place] = rng.integers(0, 256)
        with suppress(DatasetError):
            assert read_log_mel(written(tmp_path, bytes(broken))).shape[1:] == (1, 96, 64)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (torch.zeros(5, 96, 64), r"shape \[n, 1, 96, 64\] .*got \[5, 96, 64\]"),
        (torch.zeros(5, 1, 96, 64).long(), "refused: it refers to torch.LongStorage"),
        ({"log_mel": LOG_MEL}, "it holds a dict, not one tensor"),
        (torch.zeros(1).expand(5, 1, 96, 64), "larger than its storage"),
        (torch.zeros(0, 1, 96, 64), "larger than its storage"),
        (LOG_MEL.clone().index_fill(0, torch.tensor([2]), float("nan")), r"examples \[2\]"),
        (b"\x80\x04N" + b"r" + struct.pack("<I", 2**31) + b".", "too much memory"),
        (b"no pickle at all", "damaged"),
    ],
)
def test_other_content_is_refused(tmp_path, thing, words):
    with pytest.raises(DatasetError, match=words):
        read_log_mel(written(tmp_path, thing))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nobody.pkl cannot be read \(No such file"):
        read_log_mel(tmp_path / "nobody.pkl")


@pytest.mark.parametrize("core", ["core", "_core"])
def test_protocol_5_of_numpy_1_and_2_is_read(tmp_path, core):
    content = pickle.dumps(LOG_MEL.numpy(), 5)
    (name,) = {n for n in (b"numpy._core.numeric", b"numpy.core.numeric") if n in content}
    other = f"numpy.{core}.numeric".encode()
    # A short string of a pickle begins with its length; frames are optional.
    content = content[:2] + content[11:]
    content = content.replace(bytes([len(name)]) + name, bytes([len(other)]) + other)
    assert torch.equal(read_log_mel(written(tmp_path, content)), LOG_MEL)

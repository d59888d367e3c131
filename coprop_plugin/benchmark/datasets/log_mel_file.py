"""AVSBench's log-mels, `audio_log_mel/*.pkl`, read without executing anything in them."""

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from coprop_plugin.errors import DatasetError

MAX_BYTES = 64 * 2**20
_MAX_STEPS = 10_000
_MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a stream that `torch.save` writes without zip."""

_NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch.storage", "_load_from_bytes"): "storage",
    ("torch", "FloatStorage"): "float32",
    ("torch", "DoubleStorage"): "float64",
    ("torch", "HalfStorage"): "float16",
    ("collections", "OrderedDict"): "dict",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    # Protocol 5, the default of Python 3.14.
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
_ARRAY_TYPES = {"f2", "f4", "f8"}
# Exceptions that reading a damaged or hostile pickle can raise.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    ImportError,
    struct.error,
)


class _Refused(pickle.UnpicklingError):
    """A pickle that refers to something other than a tensor."""


class _Node:
    """A call that a pickle asks for: recorded, never made."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: str, args: tuple[Any, ...]) -> None:
        self.kind, self.args = kind, args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Name:
    """A function or a type that a pickle names: calling it records the call."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *args: Any) -> _Node:
        return _Node(self.kind, args)


class _Reader(pickle.Unpickler):
    """Reads a pickle as nodes and plain containers; no name is looked up or imported."""

    def find_class(self, module: str, name: str) -> _Name:
        try:
            return _Name(_NAMES[module, name])
        except KeyError:
            raise _Refused(f"{module}.{name}"[:80]) from None

    def persistent_load(self, saved_id: Any) -> _Node:
        return _Node("persistent", tuple(saved_id))


def read_log_mel(path: str | Path) -> Tensor:
    """Read the log-mels that AVSBench's preprocessing pickled.

    A pickle is a program, and unpickling runs it. Here it is only parsed: the form in which torch
    and numpy write one array is accepted, with pickles nested in its bytes, and no function that
    the file names is ever called.

    Args:
        path: A pickled torch tensor, or numpy array, `[n, 1, 96, 64]` of floats.

    Returns:
        `[n, 1, 96, 64]` float32.

    Raises:
        DatasetError: If the file is missing or damaged, holds or refers to anything else, or has
            NaN or infinite values. The message names the file.

    Example:
        >>> read_log_mel("ms3_data/audio_log_mel/test/abc.pkl").shape  # doctest: +SKIP
        torch.Size([5, 1, 96, 64])
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(
                f"{path} has more than {MAX_BYTES} bytes, too many for log-mels. {_WAY_OUT}"
            )
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}). Check the data folder. {_WAY_OUT}"
        ) from error
    try:
        array = _array_of(_load(content)[0])
    except _Refused as error:
        raise DatasetError(
            f"{path} is refused: it refers to {error}, which is not part of a tensor and could run "
            f"code. Nothing in it was executed. {_WAY_OUT}"
        ) from error
    except _DAMAGE as error:
        raise DatasetError(
            f"{path} is damaged, truncated, or not a pickled tensor ({str(error)[:120]}). "
            f"{_WAY_OUT}"
        ) from error
    return _checked(array, path)


_WAY_OUT = "Download it again, or compute log-mels from the audio with log_mel='wav'."


def _checked(array: np.ndarray, path: Path) -> Tensor:
    wanted = (1, EXAMPLE_FRAMES, NUM_BANDS)
    if array.ndim != 4 or array.shape[1:] != wanted or len(array) == 0:
        raise DatasetError(
            f"Expected an array of shape [n, 1, 96, 64] in {path}, one log-mel example a frame, "
            f"got {list(array.shape)}. {_WAY_OUT}"
        )
    log_mel = torch.from_numpy(array.astype(np.float32))
    bad = (~torch.isfinite(log_mel)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise DatasetError(f"{path} has NaN or infinite values in examples {bad}. {_WAY_OUT}")
    return log_mel


def _load(content: bytes, start: int = 0) -> tuple[Any, int]:
    """Read the pickle that begins at `start`; returns its object and where it ends."""
    end = start
    # A few bytes can ask for gigabytes of memo, or refer to registered extensions.
    steps = pickletools.genops(io.BytesIO(content[start:]))
    for number, (step, argument, position) in enumerate(steps):
        if number > _MAX_STEPS or step.name.startswith("EXT"):
            raise pickle.UnpicklingError("it is not a plain pickle of one array")
        if step.name in ("PUT", "LONG_BINPUT") and (argument or 0) > _MAX_STEPS:
            raise pickle.UnpicklingError("it asks for too much memory")
        end = start + (position or 0) + 1
    return _Reader(io.BytesIO(content[start:end])).load(), end


def _array_of(node: Any) -> np.ndarray:
    kinds: dict[str, Callable[[_Node], np.ndarray]] = {
        "tensor": _tensor,
        "array": _array,
        "buffer": _buffer,
    }
    if not isinstance(node, _Node) or node.kind not in kinds:
        what = f"a {node.kind}" if isinstance(node, _Node) else f"a {type(node).__name__}"
        raise pickle.UnpicklingError(f"it holds {what}, not one tensor")
    return kinds[node.kind](node)


def _tensor(node: _Node) -> np.ndarray:
    """Follow `_rebuild_tensor_v2(storage, offset, size, stride, ...)`."""
    storage, offset, size, stride = node.args[:4]
    if not isinstance(storage, _Node) or storage.kind != "storage":
        raise pickle.UnpicklingError("its tensor has no storage")
    values = _storage(_bytes(storage.args[0]))
    numbers = (offset, *size, *stride)
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("its tensor has no proper shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A stride of 0 would make a huge tensor of a small storage.
    if 0 in size or last >= len(values) or int(np.prod(size, dtype=object)) > len(values):
        raise pickle.UnpicklingError("its tensor is larger than its storage")
    strides = [step * values.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, strides, writeable=False)


def _storage(content: bytes) -> np.ndarray:
    """Read a storage in torch's stream format: five pickles, the number of values, the values.

    The pickles are a magic number, a version, the machine, the storage's description, its key.
    """
    magic, end = _load(content)
    if magic != _MAGIC:
        raise pickle.UnpicklingError("its storage is not in torch's stream format")
    parts = []
    for _ in range(4):
        part, end = _load(content, end)
        parts.append(part)
    _, machine, description, _ = parts
    order: Literal["<", ">"] = "<" if machine.get("little_endian", True) else ">"
    if not isinstance(description, _Node) or description.kind != "persistent":
        raise pickle.UnpicklingError("its storage is not described as torch does")
    what, kind = description.args[:2]
    if what != "storage" or not isinstance(kind, _Name) or not kind.kind.startswith("float"):
        raise pickle.UnpicklingError("its storage holds no floats")
    (count,) = struct.unpack_from(f"{order}q", content, end)
    dtype = np.dtype(kind.kind).newbyteorder(order)
    return np.frombuffer(content, dtype, count=count, offset=end + 8)


def _array(node: _Node) -> np.ndarray:
    """Follow numpy's `_reconstruct` and the state (version, shape, dtype, by columns, bytes)."""
    _, shape, dtype, by_columns, content = node.state
    return _floats(content, dtype, shape, "F" if by_columns else "C")


def _buffer(node: _Node) -> np.ndarray:
    """Follow numpy's `_frombuffer(bytes, dtype, shape, order)`."""
    content, dtype, shape, order = node.args
    if order not in ("C", "F"):
        raise pickle.UnpicklingError("its array has no proper order")
    return _floats(content, dtype, shape, order)


def _floats(content: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(dtype, _Node) or dtype.kind != "dtype" or dtype.args[0] not in _ARRAY_TYPES:
        raise pickle.UnpicklingError("its array holds no floats")
    endian = dtype.state[1] if dtype.state else "="
    values = np.frombuffer(_bytes(content), np.dtype(dtype.args[0]).newbyteorder(endian))
    return values.reshape(shape, order=order)


def _bytes(content: Any) -> bytes:
    # Old pickles have no bytes: they hold text and a call that encodes it.
    if isinstance(content, _Node) and content.kind == "encode" and len(content.args) == 2:
        text, encoding = content.args
        if isinstance(text, str) and encoding == "latin1":
            return text.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("it has no bytes where its values should be")
    return bytes(content)

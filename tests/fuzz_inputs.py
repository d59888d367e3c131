"""Broken inputs, made of good ones: bytes cut, moved and overwritten, JSON of the wrong kind.

Strategies of hypothesis, one for bytes and one for JSON; `fuzz_readers` says who reads them.
"""

import json
import struct

from hypothesis import strategies as st

LENGTHS = [0, 1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
NUMBERS = [0, 1, -1, 2, 7, 10**6, 10**12, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")]
_PACKED = [
    struct.pack(order + kind, n & (256**size - 1))
    for n in LENGTHS
    for order in "<>"
    for kind, size in (("B", 1), ("H", 2), ("I", 4), ("Q", 8))
]


@st.composite
def broken_bytes(draw, seeds, tokens=()):
    """One of the good inputs with one to four things done to it."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        # Short stretches more often: they leave more of the rest understood.
        length = draw(st.one_of(st.integers(1, 16), st.integers(1, max(1, len(content)))))
        before, stretch, rest = content[:at], content[at : at + length], content[at + length :]
        change = draw(st.sampled_from(_CHANGES))
        if change == "cut":
            content = before
        elif change == "boxes":
            content = _swapped_boxes(content, draw(st.integers(0, 8)))
        elif change == "move":
            to = draw(st.integers(0, len(before + rest)))
            content = (before + rest)[:to] + stretch + (before + rest)[to:]
        elif change == "splice":
            content = before + draw(st.sampled_from(seeds))[at:]
        else:
            content = before + draw(_instead_of(change, stretch, tokens)) + rest
    return content


def _instead_of(change, stretch, tokens):
    """What comes where a stretch of bytes was."""
    same_length = st.sampled_from(_PACKED).map(lambda number: number + stretch[len(number) :])
    return {
        "remove": st.just(b""),
        "repeat": st.integers(2, 8).map(lambda times: stretch * times),
        "flip": st.integers(0, 7).map(lambda bit: _flipped(stretch, bit)),
        "number": same_length,
        "noise": st.binary(min_size=min(16, len(stretch)), max_size=16),
        "token": st.sampled_from([*tokens, b"\0", b"\n", b"../", b"\xff\xfe"]),
        "inserted": st.sampled_from([*tokens, b"\0", b","]).map(lambda token: token + stretch),
    }[change]


def _flipped(stretch, bit):
    return bytes([stretch[0] ^ 1 << bit]) + stretch[1:] if stretch else stretch


_CHANGES = "cut remove repeat flip number noise move boxes splice token inserted".split()


def _swapped_boxes(content, number):
    """Swap one top box of an mp4 (length, name, content) with the one after it."""
    boxes, at = [], 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length < 8:
            break
        boxes.append(content[at : at + length])
        at += length
    if len(boxes) < 2:
        return content
    first = number % (len(boxes) - 1)
    boxes[first : first + 2] = boxes[first + 1], boxes[first]
    return b"".join(boxes) + content[at:]


def json_values(words):
    """JSON of any shape, with the words that mean something to a reader."""
    words = st.sampled_from([*words, "", "..", "0", "os.system", "subprocess.Popen", "\ud800"])
    leaves = st.one_of(
        st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(-3, 12), words
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=6), st.dictionaries(words, inner, max_size=6)
        ),
        max_leaves=24,
    )


@st.composite
def broken_json(draw, seeds, words):
    """JSON text: of the wrong shape, a good one with parts exchanged, far too deep, or damaged."""
    kind = draw(st.sampled_from(["any", "exchanged", "exchanged", "deep", "bytes"]))
    if kind == "bytes":
        return draw(broken_bytes(seeds, [b'"', b"{", b"[", b"]", b"1e999", b"NaN", b"-", b"\\u"]))
    if kind == "deep":
        opening = draw(st.sampled_from(["[", '{"a":', '{"log":[']))
        return (opening * draw(st.sampled_from([10, 3_000, 200_000]))).encode()
    value = draw(json_values(words))
    if kind == "exchanged":
        whole = json.loads(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 3))):
            whole = _exchanged(draw, whole, draw(json_values(words)))
        value = whole
    return json.dumps(value).encode()


def _exchanged(draw, whole, value):
    """Put a value in the place of some part of a JSON value."""
    if isinstance(whole, dict) and whole and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(whole)))
        return whole | {key: _exchanged(draw, whole[key], value)}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        place = draw(st.integers(0, len(whole) - 1))
        inner = _exchanged(draw, whole[place], value)
        return [*whole[:place], inner, *whole[place + 1 :]]
    return value

"""Files of annotations: Audacity label tracks, Praat TextGrids, RTTM, CSV, and our JSON."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coprop_plugin.choices import AnnotationFormat
from coprop_plugin.errors import ControlPointError, MediaError
from coprop_plugin.limits import read_bytes
from coprop_plugin.media.container import refuse_missing
from coprop_plugin.media.folders import write_text
from coprop_plugin.media.textgrid import read_textgrid, write_textgrid
from coprop_plugin.types.annotation import UNNAMED, Annotation, Names, Span

SUFFIXES: dict[AnnotationFormat, str] = {
    "audacity": ".txt",
    "textgrid": ".TextGrid",
    "rttm": ".rttm",
    "csv": ".csv",
    "json": ".json",
}
JSON_FORMAT = "coprop.control_points_set/1"
_OF = {suffix.lower(): kind for kind, suffix in SUFFIXES.items()}
_COLUMNS = ("clip", "start_s", "end_s", "categories")
_BETWEEN = re.compile(r"\s*[,;+]\s*")

Annotations = dict[str, Annotation]
"""Annotations by the name of their clip."""


def read_annotations(path: str | Path) -> Annotations:
    """Read annotations, of many clips or of one.

    A folder stands for the files in it. Names within one label are separated by `,`, `;` or `+`;
    the label `?` stands for something that nobody has named.

    - `.txt`, a label track of Audacity, of the clip with the same name: labels of regions say what
      sounds in them; if there are only labels of points, each says what sounds from then on.
    - `.TextGrid` of Praat, of the clip with the same name: intervals or points, of any tiers.
    - `.rttm`: the SPEAKER lines, of the clips in their second field.
    - `.csv` with the columns `clip, start_s, end_s, categories`; a row without an end is a change.
    - `.json`: `{"clips": {name: {"seconds": [0, 2.8], "names": [["girl"], ["dog"]]}}}`, as
      `coprop anchor annotate` and `coprop anchor -o points.json` write it; or LU-AVS's
      `seg_test.json`: `{name: {"fps": 30, "annotations": [{"segment": [0, 84], "label": "dog"}]}}`.

    Args:
        path: A file, or a folder of them.

    Raises:
        MediaError: If it cannot be read, or is none of these.
        ControlPointError: If its times do not make an annotation.

    Example:
        >>> read_annotations("street.TextGrid")  # doctest: +SKIP
        {'street': Annotation(seconds=(0.0, 2.8), names=(('girl',), ('dog',)))}
    """
    path = Path(path)
    refuse_missing(path)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in _OF)
        if not files:
            raise MediaError(f"{path} holds no annotations ({', '.join(SUFFIXES.values())}).")
        return {name: one for file in files for name, one in read_annotations(file).items()}
    kind = _OF.get(path.suffix.lower())
    if kind is None:
        raise MediaError(
            f"{path} has no suffix of an annotation: {', '.join(SUFFIXES.values())}. Rename it."
        )
    try:
        text = _decoded(read_bytes(path, MediaError))
        return _READERS[kind](text, path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path} cannot be read: {error}.") from error
    except (MediaError, ControlPointError) as error:
        raise type(error)(f"{path}: {error}") from error
    except (ValueError, LookupError, RecursionError, TypeError, AttributeError) as error:
        raise MediaError(
            f"{path} is not an annotation ({kind}): {str(error)[:120]}. See `read_annotations` for "
            "what is read."
        ) from error


def write_annotations(
    path: str | Path, annotations: Mapping[str, Annotation], kind: AnnotationFormat
) -> list[Path]:
    """Write annotations.

    Args:
        path: The file; for `"audacity"` and `"textgrid"`, which hold one clip, the folder.
        annotations: By the name of their clip.
        kind: The format.

    Returns:
        The files.

    Raises:
        MediaError: If they cannot be written, or a clip's name is not a file name.
    """
    if kind in _MANY:
        return [write_text(path, _MANY[kind](annotations))]
    odd = [name for name in annotations if Path(name).name != name or "\\" in name]
    if odd:
        raise MediaError(f"The clip {odd[0]!r} cannot be a file name. Use --format csv or rttm.")
    files = {f"{name}{SUFFIXES[kind]}": _ONE[kind](one) for name, one in annotations.items()}
    return [write_text(Path(path) / name, text) for name, text in files.items()]


def _decoded(content: bytes) -> str:
    # Praat writes UTF-16 where the text is not ASCII.
    utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _names(label: str) -> list[str]:
    return [name for name in _BETWEEN.split(label.strip()) if name]


Rows = list[tuple[float, float | None, list[str]]]
"""Start, end or None for a change alone, and names."""


def _of_rows(rows: Rows) -> Annotation:
    """Make an annotation from regions, or where there are none from changes alone."""
    spans = [
        Span(start, end, name)
        for start, end, names in rows
        if end is not None
        for name in names or [UNNAMED]
    ]
    if spans:
        return Annotation.of_spans(spans)
    return Annotation.at((start, tuple(names) or None) for start, _, names in rows).named()


def _read_audacity(text: str, stem: str) -> Annotations:
    rows: Rows = []
    for line in text.splitlines():
        # Lines of frequencies begin with a backslash.
        if line.strip() and not line.startswith("\\"):
            start, end, *label = line.split("\t", 2)
            region = float(end) > float(start)
            rows.append((float(start), float(end) if region else None, _names("".join(label))))
    return {stem: _of_rows(rows)}


def _read_textgrid(text: str, stem: str) -> Annotations:
    return {stem: read_textgrid(text, _BETWEEN)}


def _read_rttm(text: str, _: str) -> Annotations:
    rows: dict[str, Rows] = {}
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["SPEAKER"]:
            start_s, length_s, name = float(fields[3]), float(fields[4]), fields[7]
            rows.setdefault(fields[1], []).append((start_s, start_s + length_s, [name]))
    if not rows:
        raise MediaError("Expected lines that begin with SPEAKER, got none.")
    return {name: _of_rows(own) for name, own in rows.items()}


def _read_csv(text: str, _: str) -> Annotations:
    rows: dict[str, Rows] = {}
    for line in csv.DictReader(io.StringIO(text, newline="")):
        if missing := [column for column in _COLUMNS if column not in line]:
            raise MediaError(f"There is no column {missing[0]!r}; it has {', '.join(line)}.")
        end = float(line["end_s"]) if line["end_s"] else None
        names = _names(line["categories"] or "")
        rows.setdefault(line["clip"], []).append((float(line["start_s"]), end, names))
    return {name: _of_rows(own) for name, own in rows.items()}


def _read_json(text: str, stem: str) -> Annotations:
    content = json.loads(text)
    if content and all(isinstance(one, dict) and "annotations" in one for one in content.values()):
        return {str(name): _of_lu_avs(one) for name, one in content.items()}
    clips = content.get("clips", {stem: content})
    return {str(name): Annotation.from_dict(one) for name, one in clips.items()}


def _of_lu_avs(content: Mapping[str, Any]) -> Annotation:
    """Make an annotation of a video of LU-AVS: segments in frames, each with a label."""
    fps, length_s = float(content["fps"]), content.get("duration")
    if not fps > 0:
        raise MediaError(f"Expected frames a second above 0, got fps={fps}.")
    spans = [
        Span(float(start) / fps, float(end) / fps, str(entry["label"]))
        for entry in content["annotations"]
        for start, end in [entry["segment"]]
    ]
    annotation = Annotation.of_spans(spans)
    if isinstance(length_s, int | float) and length_s > annotation.seconds[-1]:
        return replace(annotation, duration_s=float(length_s))
    return annotation


def _audacity(annotation: Annotation) -> str:
    rows = (
        f"{start:.6f}\t{end:.6f}\t{_label(names)}\n"
        for start, end, names in annotation.segments
        if names != ()
    )
    return "".join(rows)


def _label(names: Names) -> str:
    return UNNAMED if names is None else ", ".join(names)


def _rttm(annotations: Mapping[str, Annotation]) -> str:
    return "".join(
        f"SPEAKER {clip.replace(' ', '_')} 1 {start:.6f} {end - start:.6f} <NA> <NA> "
        f"{name.replace(' ', '_')} <NA> <NA>\n"
        for clip, one in annotations.items()
        for start, end, name in one.spans
    )


def _csv(annotations: Mapping[str, Annotation]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for clip, one in annotations.items():
        for start, end, names in one.segments:
            if names != ():
                writer.writerow([clip, f"{start:.6f}", f"{end:.6f}", _label(names)])
    return text.getvalue()


def _json(annotations: Mapping[str, Annotation]) -> str:
    clips = {name: one.to_dict() for name, one in annotations.items()}
    return json.dumps({"format": JSON_FORMAT, "clips": clips}, indent=1) + "\n"


_READERS: dict[AnnotationFormat, Callable[[str, str], Annotations]] = {
    "audacity": _read_audacity,
    "textgrid": _read_textgrid,
    "rttm": _read_rttm,
    "csv": _read_csv,
    "json": _read_json,
}
_MANY: dict[str, Callable[[Mapping[str, Annotation]], str]] = {
    "rttm": _rttm,
    "csv": _csv,
    "json": _json,
}
_ONE: dict[str, Callable[[Annotation], str]] = {"audacity": _audacity, "textgrid": write_textgrid}

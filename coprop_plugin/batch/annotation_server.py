"""A web server on this machine for the page on which people annotate clips."""

import io
import json
import secrets
import threading
import wave
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from coprop_plugin import media
from coprop_plugin.errors import ControlPointError, CopropError
from coprop_plugin.report.annotate_page import annotate_page, clip_view
from coprop_plugin.types import Annotation, Clip

_MAX_BODY_BYTES = 1 << 20
_HOST = "127.0.0.1"


class AnnotationServer(ThreadingHTTPServer):
    """Serves the page to this machine alone, and saves every change as it is made.

    The address holds a random part, without which nothing is served.

    Args:
        clips: By name, how to read each clip.
        out: The JSON file of the annotations, which is read first if it exists.
        names: Names that the page offers from the start.
        port: 0 for a free one.

    Raises:
        CopropError: If `out` exists and is not a file of annotations.
        OSError: If the port is taken.

    Example:
        >>> with AnnotationServer({"a": read_a}, Path("annotations.json")) as server:
        ...     server.serve_forever()  # doctest: +SKIP
    """

    daemon_threads = True

    def __init__(
        self,
        clips: Mapping[str, Callable[[], Clip]],
        out: Path,
        names: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self.clips, self.out = list(clips), out
        self.annotations = media.read_annotations(out) if out.exists() else {}
        self.names = list(names)
        self._lock = threading.Lock()
        self._key = secrets.token_urlsafe(16)
        readers = list(clips.values())
        # The page asks for a clip and for its audio.
        self.read = lru_cache(maxsize=2)(lambda index: readers[index]())
        super().__init__((_HOST, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{_HOST}:{self.server_port}/{self._key}/"

    @property
    def prefix(self) -> str:
        """What the path of every request begins with."""
        return f"/{self._key}/"

    def page(self) -> str:
        """Return the page."""
        done = [name in self.annotations for name in self.clips]
        known = [name for one in self.annotations.values() for name in one.categories]
        return annotate_page(self.clips, done, list(dict.fromkeys([*self.names, *known])))

    def view(self, index: int) -> dict[str, Any]:
        """Return what the page shows of a clip, with its annotation so far."""
        known = self.annotations.get(self.clips[index], Annotation((0.0,), (None,)))
        return clip_view(self.read(index)) | known.to_dict() | {"name": self.clips[index]}

    def save(self, index: int, content: Any) -> None:
        """Save the annotation of a clip; the file always holds all of them.

        Raises:
            CopropError: If the content is not an annotation, or the file cannot be written.
        """
        if not isinstance(content, dict):
            raise ControlPointError("Expected an object with seconds and names.")
        clip = self.read(index)
        length_s = 0.0 if clip.waveform is None else len(clip.waveform) / clip.sample_rate
        annotation = Annotation.from_dict({**content, "duration_s": length_s})
        if annotation.seconds[-1] > length_s + 1e-3:
            raise ControlPointError(
                f"Expected changes within the {length_s:.3f} s of the clip, got one at "
                f"{annotation.seconds[-1]} s. Remove it."
            )
        with self._lock:
            self.annotations[self.clips[index]] = annotation
            media.write_annotations(self.out, self.annotations, "json")

    def wav(self, index: int) -> bytes:
        """Return the audio of a clip as a 16-bit wav."""
        clip = self.read(index)
        assert clip.waveform is not None
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(clip.sample_rate)
            samples = (clip.waveform.clamp(-1, 1) * 32767).round().to(torch.int16)
            file.writeframes(samples.numpy().astype("<i2").tobytes())
        return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, handle: Callable[[list[str]], None]) -> None:
        path, prefix = self.path, self.server.prefix
        # A page elsewhere could reach this address under a name of its own.
        host = self.headers.get("Host", "")
        allowed = host in (
            f"{_HOST}:{self.server.server_port}",
            f"localhost:{self.server.server_port}",
        )
        if not allowed or not secrets.compare_digest(path[: len(prefix)].encode(), prefix.encode()):
            self._send(HTTPStatus.NOT_FOUND, b"There is no such page.", "text/plain")
            return
        try:
            handle(path[len(prefix) :].split("/"))
        except (ValueError, IndexError, CopropError, OSError) as error:
            self._send(HTTPStatus.BAD_REQUEST, str(error).encode("utf-8", "replace"), "text/plain")

    def _get(self, parts: list[str]) -> None:
        if parts == [""]:
            self._send(HTTPStatus.OK, self.server.page().encode(), "text/html; charset=utf-8")
            return
        kind, index = parts[0], self._index(parts)
        if kind == "clips":
            body = json.dumps(self.server.view(index)).encode()
            self._send(HTTPStatus.OK, body, "application/json")
        elif kind == "audio":
            self._send(HTTPStatus.OK, self.server.wav(index), "audio/wav")
        else:
            raise ValueError("There is no such page.")

    def _post(self, parts: list[str]) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        json_type = self.headers.get("Content-Type") == "application/json"
        if parts[0] != "points" or not json_type or not 0 < length <= _MAX_BODY_BYTES:
            raise ValueError("Expected an annotation as JSON.")
        self.server.save(self._index(parts), json.loads(self.rfile.read(length)))
        self._send(HTTPStatus.OK, b"{}", "application/json")

    def _index(self, parts: list[str]) -> int:
        index = int(parts[1]) if len(parts) == 2 else -1
        if not 0 <= index < len(self.server.clips):
            raise ValueError("There is no such clip.")
        return index

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep requests, whose address is secret, out of the terminal."""

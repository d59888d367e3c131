"""Posting JSON to a server that may be slow, busy, broken or not there."""

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from coprop_plugin.errors import AudioLLMError

_LARGEST_REPLY = 16 << 20
_QUOTED = 200


@dataclass(frozen=True)
class ApiKey:
    """A key that lives in the environment and shows itself nowhere else.

    Args:
        variable: Name of the environment variable; it may be unset, for servers without keys.
    """

    variable: str

    def headers(self) -> dict[str, str]:
        """Return the header that carries the key, if there is one.

        Raises:
            AudioLLMError: If the key cannot be sent in a header.
        """
        key = self._value()
        if not key:
            return {}
        if not (key.isascii() and key.isprintable()):
            raise AudioLLMError(
                f"The environment variable {self.variable} holds characters that no key has, a "
                "line break say. Set it again, to the key alone."
            )
        return {"Authorization": f"Bearer {key}"}

    def hidden_in(self, text: str) -> str:
        """Return the text without the key; some servers repeat it in their complaints."""
        key = self._value()
        return text.replace(key, "[key]") if key else text

    def _value(self) -> str:
        return os.environ.get(self.variable, "").strip()


@dataclass(frozen=True)
class Reply:
    """What a server answered: status, headers (lower case), and its text without the key."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)

    @property
    def is_passing(self) -> bool:
        """Whether the same request may do better later."""
        return self.status in (408, 429) or self.status >= 500

    @property
    def wait_s(self) -> float | None:
        """How long the server asks to wait, in seconds, if it does."""
        value = self.headers.get("retry-after", "")
        with contextlib.suppress(ValueError):
            return max(0.0, float(value))
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        return None


@dataclass(frozen=True)
class Server:
    """An address that JSON is posted to.

    Args:
        url: `http://` or `https://`, without user, password or query. The proxies of the
            environment (`https_proxy`, `no_proxy` ...) are used.
        key: Sent with each request.
        timeout_s: For one request as a whole, from connecting to the last byte of the answer,
            however steadily it trickles.
        retries: How often a request is repeated that met a lost connection, a timeout, or a
            status 408, 429 or 5xx.
        backoff_s: The first wait in between; it doubles each time, and varies by half of itself
            so that many clients do not come back together.
        max_wait_s: The longest wait. A server that asks for more (`Retry-After`) is not waited for.

    Raises:
        AudioLLMError: If the address is none, or holds what it should not.
    """

    url: str
    key: ApiKey
    timeout_s: float = 120.0
    retries: int = 4
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    _parts: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise AudioLLMError(
                f"Got the address {self.url.rpartition('@')[2]!r}; wanted one like "
                "http://localhost:8000/v1."
            )
        if parts.username or parts.password or parts.query:
            # Not quoted: what stands there may be a secret.
            raise AudioLLMError(
                "Got an address with a user, a password or a query in it. Give the plain address; "
                f"a key belongs into the environment variable {self.key.variable}."
            )
        object.__setattr__(self, "_parts", parts)

    def post(self, payload: Mapping[str, Any]) -> Reply:
        """Post JSON; returns the first reply that a repeat would not better, of any status.

        Raises:
            AudioLLMError: If there is none after all retries.
        """
        body = json.dumps(payload).encode()
        for attempt in range(self.retries + 1):
            reply, problem = self._attempt(body)
            if reply is not None and not reply.is_passing:
                return reply
            wait_s = None if reply is None else reply.wait_s
            if wait_s is not None and wait_s > self.max_wait_s:
                raise self.error(problem, f"It asks to come back in {wait_s:.0f} s; do so.")
            if attempt < self.retries:
                time.sleep(self._pause_s(attempt, wait_s))
        raise self.error(
            problem,
            f"That was attempt {self.retries + 1}, the last. Is the server up, and strong enough "
            "for this `timeout_s` and `concurrency`?",
        )

    def error(self, problem: str, advice: str) -> AudioLLMError:
        """Return an error that says which server it was, without the key."""
        return AudioLLMError(self.key.hidden_in(f"{self.url}: {problem} {advice}"))

    def described(self, reply: Reply) -> str:
        """Return the status and the beginning of what a server said."""
        beginning = " ".join(reply.text.split())[:_QUOTED]
        return f"status {reply.status}, {beginning or 'without a word'!r}."

    def _pause_s(self, attempt: int, wait_s: float | None) -> float:
        jitter = random.SystemRandom().uniform(0.5, 1.5)
        if wait_s is not None:
            return wait_s + self.backoff_s * (jitter - 0.5)
        return min(self.max_wait_s, self.backoff_s * 2**attempt * jitter)

    # Errors end here as words: tracebacks of http.client would carry the headers' values along.
    def _attempt(self, body: bytes) -> tuple[Reply | None, str]:
        deadline = time.monotonic() + self.timeout_s
        try:
            reply = self._exchange(body, deadline)
            return reply, self.described(reply)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                return None, f"no complete answer within {self.timeout_s:g} s."
            return None, f"{type(error).__name__}: {str(error)[:_QUOTED]}."

    def _exchange(self, body: bytes, deadline: float) -> Reply:
        connection, target = self._connection()
        with contextlib.closing(connection):
            connection.connect()
            with _hung_up_at(deadline, connection.sock) as hung_up:
                headers = {"Content-Type": "application/json", **self.key.headers()}
                connection.request("POST", target, body, headers)
                status, received, text = _read(connection)
            if hung_up.is_set():
                # What came before the socket was shut can look like all of an answer.
                raise TimeoutError
            return Reply(status, received, self.key.hidden_in(text))

    def _connection(self) -> tuple[HTTPConnection, str]:
        parts = self._parts
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        proxy = None if proxy_bypass(parts.hostname) else getproxies().get(parts.scheme)
        if not proxy:
            return kind(parts.hostname, parts.port, timeout=self.timeout_s), parts.path
        via = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        connection = kind(via.hostname, via.port, timeout=self.timeout_s)
        if parts.scheme == "http":
            return connection, self.url
        connection.set_tunnel(parts.hostname, parts.port or 443)
        return connection, parts.path


def _read(connection: HTTPConnection) -> tuple[int, dict[str, str], str]:
    response = connection.getresponse()
    body = response.read(_LARGEST_REPLY + 1)
    if len(body) > _LARGEST_REPLY:
        raise HTTPException(f"the answer is longer than {_LARGEST_REPLY} bytes")
    if response.length:
        # A read of at most n bytes does not say by itself that the connection was cut.
        raise IncompleteRead(body, response.length)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, body.decode("utf-8", "replace")


@contextlib.contextmanager
def _hung_up_at(deadline: float, sock: socket.socket) -> Iterator[threading.Event]:
    # A timeout of the socket starts anew with each byte; shutting it wakes whoever waits on it.
    hung_up = threading.Event()

    def hang_up() -> None:
        hung_up.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(max(0.0, deadline - time.monotonic()), hang_up)
    watch.daemon = True
    watch.start()
    try:
        yield hung_up
    finally:
        watch.cancel()

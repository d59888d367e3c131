"""HTTP POST of JSON with one deadline for the whole request, retries, and a redacted key."""

import contextlib
import functools
import json
import os
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

from coprop_plugin.errors import AudioLLMError

MAX_REPLY_BYTES = 16 << 20
_QUOTED = 200


@dataclass(frozen=True)
class ApiKey:
    """A key that is read from the environment and appears nowhere else.

    Args:
        variable: Name of the environment variable; it may be unset, for servers without keys.
    """

    variable: str

    def headers(self) -> dict[str, str]:
        """Return the header that carries the key, if there is a key.

        Raises:
            AudioLLMError: If the key cannot be sent in a header.
        """
        key = self._value()
        if not key:
            return {}
        if not (key.isascii() and key.isprintable()):
            raise AudioLLMError(
                f"The environment variable {self.variable} holds characters that are not allowed "
                "in a key, e.g. a line break. Set it again, to the key alone."
            )
        return {"Authorization": f"Bearer {key}"}

    def redact(self, text: str) -> str:
        """Return the text without the key; some servers repeat it in their error messages."""
        key = self._value()
        return text.replace(key, "[key]") if key else text

    def _value(self) -> str:
        return os.environ.get(self.variable, "").strip()


@dataclass(frozen=True)
class Reply:
    """A server's reply: status, headers (lower case), and its text without the key."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (408, 429) or self.status >= 500

    @property
    def retry_after_s(self) -> float | None:
        """The wait that the server asks for (`Retry-After`), in seconds; None if it does not."""
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
        timeout_s: For one request as a whole, from connecting to the last byte of the reply,
            however slowly the bytes arrive.
        retries: How often a request is repeated after a lost connection, a timeout, or a status
            408, 429 or 5xx.
        backoff_s: The first wait before a repeat; it doubles each time, and varies by half of
            itself so that many clients do not repeat at the same moment.
        max_wait_s: The longest wait. If a server asks for more (`Retry-After`), that is an error.
        max_reply_bytes: The longest reply that is read.

    Raises:
        AudioLLMError: If the address is not valid, or holds a user, a password or a query.
    """

    url: str
    key: ApiKey
    timeout_s: float = 120.0
    retries: int = 4
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    max_reply_bytes: int = MAX_REPLY_BYTES

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or url.port == 0:
            raise AudioLLMError(
                "Expected an address such as http://localhost:8000/v1, got "
                f"{self.url.rpartition('@')[2]!r}."
            )
        if url.userinfo or url.query:
            # Not quoted: the address may hold a secret.
            raise AudioLLMError(
                "Expected an address without a user, a password or a query. Give the plain "
                f"address, and put the key into the environment variable {self.key.variable}."
            )

    def post(self, payload: Mapping[str, Any]) -> Reply:
        """Post JSON; returns the first reply, of any status, that a repeat would not improve.

        Raises:
            AudioLLMError: If there is no such reply after all retries.
        """
        body = json.dumps(payload).encode()
        for attempt in range(self.retries + 1):
            reply, problem = self._attempt(body)
            if reply is not None and not reply.is_transient:
                return reply
            wait_s = None if reply is None else reply.retry_after_s
            if wait_s is not None and wait_s > self.max_wait_s:
                raise self.error(
                    problem,
                    f"The server asked to retry after {wait_s:.0f} s (Retry-After), more than "
                    f"max_wait_s={self.max_wait_s:g}. Try again later, or raise `max_wait_s`.",
                )
            if attempt < self.retries:
                time.sleep(self._pause_s(attempt, wait_s))
        raise self.error(
            problem,
            f"Gave up after {self.retries + 1} attempt{'s' if self.retries else ''}. Check that "
            "the server is running, or raise `timeout_s` / lower `concurrency`.",
        )

    def error(
        self, problem: str, advice: str, kind: type[AudioLLMError] = AudioLLMError
    ) -> AudioLLMError:
        """Return an error that names the server, without the key."""
        return kind(self.key.redact(f"{self.url}: {problem} {advice}"))

    def describe(self, reply: Reply) -> str:
        """Return the status and the beginning of a reply."""
        beginning = " ".join(reply.text.split())[:_QUOTED]
        return f"status {reply.status}, {repr(beginning) if beginning else 'an empty reply'}."

    def _pause_s(self, attempt: int, wait_s: float | None) -> float:
        jitter = random.SystemRandom().uniform(0.5, 1.5)
        if wait_s is not None:
            return wait_s + self.backoff_s * (jitter - 0.5)
        return min(self.max_wait_s, self.backoff_s * 2**attempt * jitter)

    # Errors become text here: the tracebacks of httpx hold the header with the key.
    def _attempt(self, body: bytes) -> tuple[Reply | None, str]:
        try:
            # A thread with its own event loop, so that it works in a notebook's loop, too.
            with start_blocking_portal() as portal:
                reply = portal.call(self._exchange, body)
            return reply, self.describe(reply)
        except TimeoutError:
            return None, f"no complete reply within {self.timeout_s:g} s."
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
            return None, f"{_reason(error)[:_QUOTED]}."

    async def _exchange(self, body: bytes) -> Reply:
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            **self.key.headers(),
        }
        # One deadline for all of it: httpx's own timeouts start again with each byte.
        with anyio.fail_after(self.timeout_s):
            async with (
                httpx.AsyncClient(
                    verify=_trusted(), proxy=self._proxy(), trust_env=False, timeout=None
                ) as client,
                client.stream("POST", self.url, content=body, headers=headers) as response,
            ):
                content = bytearray()
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > self.max_reply_bytes:
                        raise ValueError(f"the reply exceeds {self.max_reply_bytes} bytes")
        text = self.key.redact(content.decode("utf-8", "replace"))
        return Reply(response.status_code, dict(response.headers), text)

    def _proxy(self) -> str | None:
        # httpx itself fails on some values of `no_proxy` and `all_proxy` that others accept.
        url = httpx.URL(self.url)
        proxy = None if proxy_bypass(url.host) else getproxies().get(url.scheme)
        return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates that this system trusts, not those that httpx brings along."""
    return ssl.create_default_context()


def _reason(error: BaseException) -> str:
    """Return an error's name and text, those of the system's error behind it if there is one."""
    if isinstance(error, httpx.InvalidURL):
        # Not quoted: the address of a proxy may hold a password.
        return "the address of the proxy in the environment is not valid"
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        several = getattr(cause, "exceptions", ())
        cause = several[0] if several else cause.__cause__ or cause.__context__
    found = cause or error
    return f"{type(found).__name__}: {found}"

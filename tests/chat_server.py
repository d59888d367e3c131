"""A real chat-completions server on this machine that does as it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, **message):
    message = {"role": "assistant", "content": content, **message}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


def answers(content, **message):
    return says(200, completion(content, **message))


def says(status, body=b"", **headers):
    """Answers so; `retry_after="1"` is the header Retry-After."""

    def act(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def after(seconds, act):
    """Does so later, unless the test is over; `most_at_once` counts who waits together."""

    def wait(handler):
        server = handler.server
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        server.over.wait(seconds)
        with server.lock:
            server.at_once -= 1
        act(handler)

    return wait


def hangs_up(handler):
    handler.close_connection = True


def stops_halfway(handler):
    body = completion("[1, 0, 1]")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def trickles(handler, start=b"HTTP/1.0 200 OK\r\n\r\n"):
    """Sends a byte each 20 ms for as long as somebody listens: no pause is ever long."""
    handler.wfile.write(start)
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def trickles_headers(handler):
    trickles(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ")


class ChatServer(ThreadingHTTPServer):
    """Answers each request with the next of its acts, and all that follow with the last one."""

    daemon_threads = True

    def __init__(self, *acts):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.acts = list(acts)
        self.requests = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        with server.lock:
            act = server.acts.pop(0) if len(server.acts) > 1 else server.acts[0]
            request = {"path": self.path, "headers": self.headers, "body": json.loads(body)}
            server.requests.append(request)
        act(self)

    def log_message(self, *_):
        pass

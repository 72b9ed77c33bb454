"""Real stores on loopback for the tests of remote sources: S3-compatible, and a web server."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

LOGIN = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "whose-password-is-this"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3-compatible store, with a login in the environment; yield its endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LOGIN.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


class Bucket:
    """A bucket of that store, written to as somebody else would."""

    def __init__(self, name: str) -> None:
        """Make it."""
        import boto3  # type: ignore[import-untyped]

        self.name = name
        self.client: Any = boto3.client("s3")
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, payload: bytes) -> None:
        """Put an object there, in the place of an older one."""
        self.client.put_object(Bucket=self.name, Key=key, Body=payload)

    def drop(self, key: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=self.name, Key=key)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its own name
        """Print nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A real browser that is told what to do, by its own protocol: open a page, press keys, ask it.

https://chromedevtools.github.io/devtools-protocol/
"""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.flows.browser import find_browser

_SECONDS = 30.0


class Tab:
    """One tab of a browser without a window."""

    def __init__(self, socket: Connection) -> None:
        """Speak through an open connection."""
        self._socket, self._number = socket, 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while (said := json.loads(self._socket.recv(timeout=_SECONDS))).get("id") != self._number:
            pass
        assert "result" in said, said
        answer: dict[str, Any] = said["result"]
        return answer

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.until(f"location.href.startsWith({address!r}) && document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """Return the value of an expression on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _SECONDS
        while not self.ask(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press a key, say `a` or `ArrowRight`."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextmanager
def browsing(profile: Path, *options: str) -> Iterator[Tab]:
    """Start a browser and yield a tab of it; the test is skipped where there is none."""
    command = [
        find_browser(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        *options,
    ]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "--window-size=1280,900", "about:blank"],
        stderr=subprocess.DEVNULL,
    )
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_port(profile)}/json") as answer:
            (tab,) = [each for each in json.load(answer) if each["type"] == "page"]
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(timeout=_SECONDS)


def _port(profile: Path) -> int:
    """Return the port that the browser chose, once it listens."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        path = profile / "DevToolsActivePort"
        if path.exists() and (lines := path.read_text().split("\n"))[0].isdigit():
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser did not start")

"""Open pages in a real browser: `python -m tests.faults.visit FOLDER ADDRESS ...`.

In FOLDER, `network.json` is the browser's own record of all that it asked for, and for whom;
`pages.json` says what text each page showed. Pages that are built by a script get time for it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.flows.devtools import Tab, browsing

RECORD, PAGES = "network.json", "pages.json"
_QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TEXT_SECONDS = 30.0  # for a page to show something, on a busy machine
_MORE_SECONDS = 3.0  # to ask what else it asks at first
_SHOWN = "document.body ? document.body.innerText : ''"
_NOBODY = "not an origin"  # the browser itself, and who goes to a page


def asked_by_pages(record: Path) -> set[str]:
    """Return the addresses that pages asked for, other than those of this machine."""
    return {url for url, initiator in _requests(record) if initiator and _is_foreign(url)}


def asked_by_the_browser(record: Path) -> set[str]:
    """Return the hosts that the browser asked for on its own account."""
    hosts = {urlsplit(url).hostname for url, initiator in _requests(record) if not initiator}
    return {host for host in hosts if host}


def _requests(record: Path) -> list[tuple[str, str]]:
    """Return each request of a record, with the page that asked or nothing."""
    events: list[dict[str, Any]] = json.loads(record.read_text())["events"]
    said = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return [
        (each["url"], "" if each["initiator"] == _NOBODY else each["initiator"])
        for each in said
        if "url" in each
    ]


def _is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return parts.scheme in {"http", "https", "ws", "wss"} and not here


def main(folder: Path, addresses: list[str]) -> None:
    """Open the pages, and write down what came of it."""
    shown: dict[str, str] = {}
    record = f"--log-net-log={folder / RECORD}"
    with browsing(folder / "profile", *_QUIET, record) as tab:
        for address in addresses:
            tab.call("Page.navigate", url=address)
            shown[address] = _text(tab)
        tab.call("Browser.close")  # else the record has no end
    (folder / PAGES).write_text(json.dumps(shown))


def _text(tab: Tab) -> str:
    """Return the text of the page that a tab went to, once it shows some and had time to ask."""
    until = time.monotonic() + _TEXT_SECONDS
    while time.monotonic() < until and not str(tab.ask(_SHOWN)).strip():
        time.sleep(0.2)
    time.sleep(_MORE_SECONDS)
    return str(tab.ask(_SHOWN))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

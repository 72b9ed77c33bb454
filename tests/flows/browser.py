"""A real browser for the tests of pages: it opens a file and says what came of it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    """Return the path of a browser; the test is skipped where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on the PATH")
    return found


def headless(profile: Path) -> Callable[..., str]:
    """Return a function that opens a file with options and returns what the browser printed.

    The test is skipped where there is no browser.
    """
    found = find_browser()

    def open_in(page: Path, *options: str) -> str:
        command = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--force-color-profile=srgb", f"--user-data-dir={profile}"]
        done = subprocess.run(
            [*command, *options, page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout

    return open_in

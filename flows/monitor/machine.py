"""The machine that the mill stands on: disk, GPUs, certificates, and what takes up the space.

Folders are counted aside, in a thread of their own: a large one takes minutes, and no alert may
wait for it. GPUs are asked through the driver's own command, which comes with every driver.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from flows.disk_use import free_bytes, size_of
from flows.monitor.snapshot import Gpu, Machine
from flows.settings import Settings
from gan.marking.certificates import read_chain
from gan.paths import Layout

_FOLDERS = ("assets", "data", "models", "reports", "runs", ".dvc/cache")
_OF_STATE = ("bundles", "dvc-store", "features", "mlflow", "prefect")
_COUNT_SECONDS = 1800.0
_ASK_SECONDS = 5.0
_MEBIBYTE = 1 << 20
_QUERY = "index,name,utilization.gpu,memory.used,memory.total,power.draw"


class MachineReader:
    """Looks at the machine again and again."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        """Look at the machine of this workspace."""
        self._layout, self._settings = layout, settings
        self._folders: dict[str, int] = {}
        self._driver = shutil.which("nvidia-smi")

    def read(self) -> Machine:
        """Return the machine's state.

        Raises:
            OSError: The workspace's disk cannot be looked at.
        """
        free, total = free_bytes(self._layout.root)
        return Machine(
            free_bytes=free,
            total_bytes=total,
            folders=dict(self._folders),
            gpus=_gpus(self._driver) if self._driver else (),
        )

    def certificates(self) -> dict[str, datetime]:
        """Return when the certificate ends that assets are signed with, by its file.

        Raises:
            UsageError: The file cannot be read, or holds none.
        """
        given, local = self._settings.signing_certificate, self._layout.signing / "local.pem"
        if given is None and not local.exists():  # it is made by the first batch
            return {}
        file = given or local
        return {str(file): read_chain(file)[0].not_valid_after_utc.astimezone(UTC)}

    def count_folders(self, *, seconds: float) -> None:
        """Count what each folder of the workspace holds, once.

        Args:
            seconds: The longest for each; one that takes longer is left out.
        """
        state, found = self._layout.state.name, {}
        for name in (*_FOLDERS, *(f"{state}/{each}" for each in _OF_STATE)):
            folder = self._layout.root / name
            if folder.is_dir() and (size := size_of([folder], seconds=seconds)).is_complete:
                found[name] = size.bytes
        self._folders = found

    def go_on_counting(self) -> None:
        """Count the folders every half hour, in a thread that ends with the process."""

        def count() -> None:
            while True:
                self.count_folders(seconds=_COUNT_SECONDS)
                time.sleep(_COUNT_SECONDS)

        threading.Thread(target=count, name="sizes", daemon=True).start()


def gpus_of(lines: Iterable[str]) -> tuple[Gpu, ...]:
    """Return what the driver's command says, a line each; a figure that it has not is None.

    Args:
        lines: Index, name, percent, MiB, MiB, W, with commas between.
    """
    found = []
    for line in lines:
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 1 + _QUERY.count(",") or not parts[0].isdigit():
            continue
        percent, used, total, watts = map(_number, parts[2:])
        found.append(
            Gpu(
                index=int(parts[0]),
                name=parts[1],
                utilisation=None if percent is None else percent / 100,
                memory_used_bytes=None if used is None else int(used * _MEBIBYTE),
                memory_total_bytes=None if total is None else int(total * _MEBIBYTE),
                power_watts=watts,
            )
        )
    return tuple(found)


def _gpus(driver: str) -> tuple[Gpu, ...]:
    try:
        asked = [driver, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
        said = subprocess.run(
            asked, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):  # the command is there, a GPU is not
        return ()
    return gpus_of(said.stdout.splitlines())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None

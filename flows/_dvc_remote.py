"""Whether DVC's default remote answers, asked without opening the repository: that takes locks.

Private to `stores.py`, as `_dvc.py` is.
"""

from dataclasses import dataclass
from pathlib import Path

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.fs import get_cloud_fs

from flows import _dvc
from flows.disk_use import refusal
from flows.page_style import without_login
from gan.errors import ServiceError, UsageError
from gan.paths import Layout

_AGAIN = " Mend it, then run this again."


@dataclass(frozen=True)
class RemoteFacts:
    """What the configuration says of the default remote, and whether it answers.

    Attributes:
        name: In DVC's configuration.
        label: For messages, without a login.
        verifies: Whether what is fetched is hashed again.
        is_there: Whether its folder or prefix exists; the first push makes it.
        problem: Why it could not be asked, or written to; "" where it could.
    """

    name: str
    label: str
    verifies: bool
    is_there: bool
    problem: str = ""


def describe_remote(layout: Layout, *, seconds: int) -> RemoteFacts | None:
    """Return what is known of the default remote, None without one; nothing is made or locked.

    Args:
        layout: The workspace.
        seconds: The longest that a store of the network is waited for.

    Raises:
        UsageError: The configuration is wrong.
    """
    try:
        config = Config(str(layout.root / ".dvc"))
    except DvcException as error:
        raise UsageError(f"{layout.root / '.dvc' / 'config'}: {_dvc.line(error)}") from error
    name = config["core"].get("remote")
    if not name:
        return None
    told = config["remote"].get(name, {})
    url, verifies = told.get("url", "not configured"), bool(told.get("verify"))
    label = f"{name!r} ({without_login(url)})"
    brief = {"connect_timeout": seconds, "read_timeout": seconds} if url.startswith("s3:") else {}
    try:
        with _dvc.answering(label):
            kind, options, path = get_cloud_fs(config, name=name)
            files = kind(**options, **{key: brief[key] for key in brief.keys() - options.keys()})
            is_there = bool(files.exists(path))
    except ServiceError as error:
        problem = (
            str(error).removeprefix(f"{label}: ").removesuffix(" Mend it, then run this again.")
        )
        return RemoteFacts(name, label, verifies, is_there=False, problem=problem)
    problem = refusal(Path(path)) if kind.protocol == "local" else ""
    problem = f"cannot be written ({problem})" if problem else ""
    return RemoteFacts(name, label, verifies, is_there, problem)

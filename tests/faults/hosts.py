"""Hosts on one machine: network namespaces with a cable, names of their own, one file system.

Two hosts that share work, or one whose cable ends at somebody who answers nothing and writes down
what comes along it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What a host starts sees the host's name, and its own tables of names instead of the machine's.
_ENTER = (
    'hostname "$1"; mount --bind "$2/hosts" /etc/hosts; '
    'mount --bind "$2/resolv.conf" /etc/resolv.conf; shift 2; exec "$@"'
)
_ROOT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000  # of Linux's sched.h


def missing() -> str | None:
    """Return why there can be no such hosts here, if so."""
    if os.geteuid() != 0:
        return "namespaces of the network need root"
    for command in ("ip", "unshare"):
        if shutil.which(command) is None:
            return f"namespaces of the network need the command {command}"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], check=False)
    return "this machine allows no namespaces" if tried.returncode else None


@dataclass
class Host:
    """A host.

    Attributes:
        space: Name of its network namespace.
        name: Of the host.
        address: In the network of both.
        tables: Folder of its `hosts` and `resolv.conf`.
        started: What was started on it.
    """

    space: str
    name: str
    address: str
    tables: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(
        self, *command: str, cwd: Path, said: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command on the host; what it says goes to a file."""
        enter = ["ip", "netns", "exec", self.space, "unshare", "--mount", "--uts", "--"]
        enter += ["sh", "-c", _ENTER, "sh", self.name, str(self.tables)]
        with said.open("a") as file:
            process = subprocess.Popen(
                [*enter, *command],
                cwd=cwd,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.started.append(process)
        return process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and what it starts, reach the network from here."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with Path(f"/run/netns/{self.space}").open("rb") as here:
                _reach_from(here.fileno())
            try:
                yield
            finally:
                _reach_from(before.fileno())

    def network(self) -> int:
        """Return the number of its network, which `/proc/<pid>/ns/net` of its processes has."""
        return Path(f"/run/netns/{self.space}").stat().st_ino

    def pids(self) -> list[int]:
        """Return what runs on it."""
        listing = ["ip", "netns", "pids", self.space]
        done = subprocess.run(listing, capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]

    def lose_power(self) -> None:
        """End all that runs on it, at once and without a word."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Yield `first-host` and `second-host`, which know each other by name; neither stays."""
    tables = _tables(folder, {"10.77.0.1": "first-host", "10.77.0.2": "second-host"})
    with _cable(("10.77.0.1/24", "10.77.0.2/24")) as spaces:
        first = Host(spaces[0], "first-host", "10.77.0.1", tables)
        second = Host(spaces[1], "second-host", "10.77.0.2", tables)
        try:
            yield first, second
        finally:
            first.lose_power()
            second.lose_power()


@dataclass(frozen=True)
class Outside:
    """What a host whose cable is watched has tried to send.

    Attributes:
        path: The record, a JSON line for each packet.
    """

    path: Path

    def asked(self) -> list[dict[str, Any]]:
        """Return the packets so far, each with `to`, `protocol`, and `port` and `name` if any."""
        time.sleep(0.2)  # the watcher writes at once; it may just not have had a processor
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@contextmanager
def watched_host(folder: Path) -> Iterator[tuple[Host, Outside]]:
    """Yield a host with routes and a name server like any other, and what it sends out of itself.

    Nothing is out there but the end of the cable, which forwards and answers nothing.
    """
    tables = _tables(folder, {"127.0.1.1": "alone"})
    (tables / "resolv.conf").write_text("nameserver 10.78.0.1\noptions timeout:1 attempts:1\n")
    with _cable(("10.78.0.2/24", "10.78.0.1/24"), ("fd78::2/64", "fd78::1/64")) as spaces:
        alone = Host(spaces[0], "alone", "10.78.0.2", tables)
        beyond = Host(spaces[1], "outside", "10.78.0.1", tables)
        _ip("-n", alone.space, "route", "add", "default", "via", "10.78.0.1")
        _ip("-n", alone.space, "-6", "route", "add", "default", "via", "fd78::1")
        record, said = folder / "packets.jsonl", folder / "watcher.txt"
        watcher = [sys.executable, "-m", "tests.faults.watcher", "cable", str(record)]
        beyond.start(*watcher, cwd=_ROOT, said=said)
        try:
            _until_exists(record, said)
            yield alone, Outside(record)
        finally:
            alone.lose_power()
            beyond.lose_power()


def _tables(folder: Path, names: Mapping[str, str]) -> Path:
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    rows = {"127.0.0.1": "localhost", "::1": "localhost", **names}
    (tables / "hosts").write_text("".join(f"{key} {value}\n" for key, value in rows.items()))
    (tables / "resolv.conf").write_text("")
    return tables


def _until_exists(path: Path, said: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.02)


@contextmanager
def _cable(*ends: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of two new network namespaces with a cable between them.

    Args:
        ends: Addresses of both ends, with the lengths of their networks.
    """
    spaces = f"ganmill-{os.getpid()}-a", f"ganmill-{os.getpid()}-b"
    made: list[str] = []
    try:
        for space in spaces:
            _ip("netns", "add", space)
            made.append(space)
        link = ["link", "add", "cable", "netns", spaces[0], "type", "veth"]
        _ip(*link, "peer", "name", "cable", "netns", spaces[1])
        for pair in ends:
            for space, address in zip(spaces, pair, strict=True):
                at_once = ["nodad"] if ":" in address else []
                _ip("-n", space, "address", "add", address, "dev", "cable", *at_once)
        for space in spaces:
            for name in ("lo", "cable"):
                _ip("-n", space, "link", "set", name, "up")
        yield spaces
    finally:
        for space in made:
            _ip("netns", "delete", space)


def _reach_from(network: int) -> None:
    """Move this thread into a network, by its open file."""
    libc = ctypes.CDLL(None, use_errno=True)  # `os.setns` is newer than our oldest Python
    if libc.setns(network, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)

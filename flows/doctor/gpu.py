"""Whether torch works here, whether it sees a GPU, and whether a recipe needs one."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.disk_use import in_units
from flows.doctor.finding import Finding, bad, few, ok, unknown, warn
from gan.errors import RecipeError
from gan.paths import Layout
from gan.recipe import load_recipes

_PROBE = Path(__file__).with_name("torch_probe.py")
_SECONDS = 6.5
_AUTO = "set train.device: auto in params.yaml"


@dataclass(frozen=True)
class Seen:
    """What `torch_probe` printed.

    Attributes:
        driver: The newest CUDA that NVIDIA's driver knows; None: there is no driver.
        installed: The version of the package; None: there is none.
        torch: Its version; None: it did not get so far.
        cuda: The CUDA that torch was built for; None: for processors alone.
        devices: Name, free_bytes and total_bytes of each GPU.
        problem: Why torch does not work, or "".
        said: Warnings on the way.
    """

    driver: str | None = None
    installed: str | None = None
    torch: str | None = None
    cuda: str | None = None
    devices: Sequence[dict[str, Any]] = ()
    problem: str = ""
    said: Sequence[str] = ()


def gpu(layout: Layout) -> list[Finding]:
    """Look at torch and the GPUs."""
    return judge(probe(), _asking(layout))


def probe(seconds: float = _SECONDS) -> Seen:
    """Return what torch sees, as far as it told within some seconds."""
    command = [sys.executable, "-P", str(_PROBE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            out, err = child.communicate(timeout=seconds)
            ended = f"ended with {child.returncode}: {_last(err)}" if child.returncode else ""
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            ended = f"took longer than {seconds:g} s to import"
    told: dict[str, Any] = {}
    for line in out.splitlines():
        told |= json.loads(line)
    if ended and "torch" not in told:
        told.setdefault("problem", ended)
    return Seen(**told)


def judge(seen: Seen, asking: Sequence[str]) -> list[Finding]:
    """Return what to say of torch and its GPUs.

    Args:
        seen: What it sees.
        asking: The recipes that ask for a GPU.
    """
    if seen.torch is None:
        return [_broken(seen)]
    if seen.devices:
        return [ok("torch", seen.torch), _sees(seen)]
    says = f"torch sees none{_why(seen)}"
    if asking:
        says = f"{says}, and {few(asking)} ask for one (train.device: cuda)"
        return [ok("torch", seen.torch), bad("gpu", says, _mend(seen))]
    if seen.driver:
        return [ok("torch", seen.torch), warn("gpu", f"{says}; it trains without", _mend(seen))]
    return [ok("torch", seen.torch), ok("gpu", "none here; the processors train")]


def _broken(seen: Seen) -> Finding:
    if seen.problem.startswith("took longer"):
        says = f"{seen.installed or 'it'} {seen.problem}: the machine is busy, or a driver hangs"
        return unknown("torch", says, "run it again when less goes on")
    mend = f"{sys.executable} -m pip install --no-deps --require-hashes -r infra/requirements.lock"
    return bad("torch", f"cannot be imported: {seen.problem}", mend)


def _sees(seen: Seen) -> Finding:
    each = seen.devices[0]
    more = f" and {len(seen.devices) - 1} more" if len(seen.devices) > 1 else ""
    free, total = in_units(each["free_bytes"]), in_units(each["total_bytes"])
    says = f"{each['name']}, {free} of {total} free{more}; CUDA {seen.cuda}, driver {seen.driver}"
    if seen.said:
        return warn("gpu", f"{says}; torch warns: {_line(seen.said[0])}", _mend(seen))
    return ok("gpu", says)


def _why(seen: Seen) -> str:
    """Return what keeps torch from seeing a GPU, as far as that can be told."""
    if seen.cuda is None:
        return f" ({seen.torch} is built for processors alone)"
    if seen.driver is None:
        return " (there is no driver of NVIDIA)"
    if _number(seen.driver) < _number(seen.cuda):
        return f" (the driver knows CUDA {seen.driver}, torch is built for {seen.cuda})"
    said = seen.problem or (seen.said[0] if seen.said else "")
    return f" ({_line(said)})" if said else ""


def _mend(seen: Seen) -> str:
    if seen.cuda is None:
        return f"{sys.executable} -m pip install -r infra/requirements.lock, or {_AUTO}"
    if seen.driver and _number(seen.driver) < _number(seen.cuda):
        return f"install a driver for CUDA {seen.cuda} or newer, or {_AUTO}"
    if seen.driver is None:
        return f"install NVIDIA's driver, or {_AUTO}"
    return f"nvidia-smi   (does it see the GPU? is CUDA_VISIBLE_DEVICES empty?), or {_AUTO}"


def _asking(layout: Layout) -> list[str]:
    try:
        found = load_recipes(layout.params)
    except RecipeError:  # `recipes` tells of it
        return []
    return [name for name, recipe in found.items() if recipe.train.device == "cuda"]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing said"

"""A process that has imported torch and forks a child for each work: a start takes no seconds.

It reads lines of JSON {"work": name, "folder": path, "die_at": n or 0, "kill_after": seconds or
null} and answers each, once the child has ended, with [exit code or minus the signal, seconds].
All seconds are of the processor: on a busy machine a moment is as far into the work as on a calm.
"""

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import torch
from PIL import Image
from torch import nn

from gan.bundle import latents
from gan.errors import GanmillError
from gan.modality import modality
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.guards import StopRequest
from gan.training.loop import train
from tests.faults.seam import dying_at
from tests.faults.works import WORKS


def _train(folder: Path) -> None:
    """Train the workspace's recipe `tiny` as its command does, with a checkpoint at every step."""
    with StopRequest() as stop:
        layout = Layout(folder)
        recipe = load_recipe(layout.params, "tiny")
        train(layout, recipe, stop, measure=_contrast, checkpoint_seconds=0.0)


@torch.no_grad()
def _contrast(network: nn.Module) -> dict[str, float]:
    """Return a figure to keep the best by; a distance would take longer than the training."""
    z_dim = modality("image").z_dim("tiny")
    images = network(latents(1, "contrast", count=4, z_dim=z_dim), torch.tensor([0, 1, 0, 1]))
    return {"fd": 1 / images.std().item()}


def _child(work: str, folder: Path, die_at: int) -> int:
    do = _train if work == "training" else WORKS[work].do
    with dying_at(die_at) if die_at else nullcontext():
        try:
            do(folder)
        except GanmillError as error:
            print(error, file=sys.stderr, flush=True)
            return error.exit_code
    return 0


def _kill(child: int, after: float) -> None:
    """Send SIGKILL once the child has used this much processor time, if it has not ended."""
    process = psutil.Process(child)  # ours until it is waited for, so never another's id
    while process.status() != psutil.STATUS_ZOMBIE and sum(process.cpu_times()[:2]) < after:
        time.sleep(0.001)
    process.kill()


def main() -> None:
    """Serve until stdin ends."""
    # What every training imports at its start; False is what it is.
    torch.use_deterministic_algorithms(mode=False)
    Image.init()
    for line in sys.stdin:
        asked = json.loads(line)
        folder = Path(asked["folder"])
        child = os.fork()
        if child == 0:
            said = os.open(f"{folder}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(said, 2)
            os._exit(_child(asked["work"], folder, asked["die_at"]))
        if asked["kill_after"] is not None:
            _kill(child, asked["kill_after"])
        _, status, used = os.wait4(child, 0)
        ended = [os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()

r"""One training on several processes, by torch's elastic launcher: started, watched, joined.

    python -m gan train RECIPE              with train.gpus: 2 in params.yaml; the first process
    `-- python -m torch.distributed.run     launches torch's and watches it
        |-- python -m gan train RECIPE      a worker: LOCAL_RANK and WORLD_SIZE are in its
        `-- python -m gan train RECIPE      environment, so it joins instead of launching

When a worker is lost, torch's launcher starts all of them again and they go on from the last
checkpoint, three times at most. An error that a user can mend is no reason to start again: the
worker records it and ends with 0, and the first process raises it as its own. On a machine without
a GPU, or with `train.device: cpu`, the workers share the processors.

Several machines: the workspace is one folder that all of them see, and each starts

    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun --nnodes 2 --nproc-per-node 8 --max-restarts 3 \
        --rdzv-backend c10d --rdzv-id NAME --rdzv-endpoint FIRST_HOST:29400 -m gan train RECIPE
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gan.durable import read_failure, remove, run_lock
from gan.errors import GanmillError, PreemptedError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.guards import StopRequest
from gan.training.workers import Workers

if TYPE_CHECKING:  # torch takes seconds to import, and the first process has no use for it
    from gan.training.team import Team

_LAUNCHED = "GANMILL_LAUNCHED"
# Workers that were started again would else find the addresses of those before them in the store
# that torch's launcher keeps, and wait for them in vain (pytorch issue 135712).
_OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
_RESTARTS = 3
_BATCH_STATISTICS = ("conv28",)


def is_worker() -> bool:
    """Return whether this process was started by an elastic launcher, ours or the user's."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_launched() -> bool:
    """Return whether this process is a worker whose errors `launch` waits for."""
    return is_worker() and _LAUNCHED in os.environ


def failure_path(layout: Layout, recipe: str) -> Path:
    """Return where this process leaves the error that ends its training."""
    return layout.failure("worker" if is_launched() else "train", recipe)


def launch(layout: Layout, recipe: Recipe, stop: StopRequest) -> None:
    """Train on `train.gpus` processes of this machine; return when the bundle is packed.

    None of them outlives this call, nor, on Linux, this process if it is killed.

    Raises:
        UsageError: The network cannot be trained by several processes.
        BusyError: The same training runs already.
        PreemptedError: Stopped by a signal or a dead parent, after a checkpoint.
        GanmillError: What the workers raised, of the class that it had; or they failed too often.
    """
    name, count = recipe.name, recipe.train.gpus
    require_shareable(recipe, count)
    record = layout.failure("worker", name)
    with run_lock(layout.lock(f"launch-{name}"), f"train {name}"):
        remove(record)
        status = Workers(_command(name, count), layout.root, _environment(count)).run(stop)
        failure = read_failure(record)
    if failure is not None:
        raise failure
    if status and (reason := stop.reason()):
        raise PreemptedError(f"train {name}: stopped ({reason}); the same command resumes.")
    if status:
        raise GanmillError(
            f"train {name}: its {count} processes failed and were started again {_RESTARTS} "
            "times; what they said stands above. Mend it, and run the same command: it goes on "
            "from the last checkpoint."
        )


@contextmanager
def join(layout: Layout, recipe: Recipe) -> Iterator["Team"]:
    """Join the other workers, if there are any, and yield the team.

    Raises:
        UsageError: The batch or the network cannot be shared among so many; too few GPUs.
        PeerError: The others cannot be reached.
        GanmillError: What another worker raised before all were started again.
    """
    from gan.training.team import Team

    size = int(os.environ["WORLD_SIZE"]) if is_worker() else 1
    if is_launched() and (failure := read_failure(failure_path(layout, recipe.name))):
        raise failure
    if size == 1:
        yield Team()
        return
    require_shareable(recipe, size)
    import torch
    import torch.distributed as dist

    place = {name: int(os.environ[name.upper()]) for name in ("rank", "local_rank")}
    on_cuda = torch.cuda.is_available() and recipe.train.device != "cpu"
    if on_cuda:
        _require_gpus(recipe, torch.cuda.device_count())
        torch.cuda.set_device(place["local_rank"])
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_cuda else "gloo")
    yield Team(size=size, **place)
    # Not after an error: the others may be gone, and to take leave of them could last forever.
    dist.destroy_process_group()


def require_shareable(recipe: Recipe, processes: int) -> None:
    """Refuse a training that several processes would not do as one does.

    Raises:
        UsageError: The network has batch statistics, or the batch has no equal parts.
    """
    preset, batch_size = recipe.model.preset, recipe.train.batch_size
    where = f"params.yaml: recipes.{recipe.name}"
    if processes > 1 and preset in _BATCH_STATISTICS:
        raise UsageError(
            f"{where}.train.gpus is {processes}, but model.preset {preset} takes statistics of its "
            "batch, and a part of it has others. Set train.gpus to 1, or take another preset."
        )
    if batch_size % (4 * processes):
        raise UsageError(
            f"{where}.train.batch_size is {batch_size}; with {processes} processes it must be a "
            f"multiple of {4 * processes}."
        )


def _require_gpus(recipe: Recipe, found: int) -> None:
    """Refuse more processes on this machine than it has GPUs."""
    wanted = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if wanted > found:
        raise UsageError(
            f"train {recipe.name}: {wanted} processes on this machine, but torch sees {found} GPUs "
            f"here. Set recipes.{recipe.name}.train.gpus to {found} in params.yaml."
        )


def _command(recipe: str, processes: int) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = ["--nproc-per-node", str(processes), "--max-restarts", str(_RESTARTS)]
    options += ["--local-addr", "127.0.0.1"]  # the host's own name may be unknown to it
    return [*launcher, *options, "-m", "gan", "train", recipe]


def _environment(processes: int) -> dict[str, str]:
    """Return the workers' environment: their share of the processors, no wire but the machine's."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    ours = {"OMP_NUM_THREADS": str(max(1, processors // processes)), _OWN_STORE: "1"}
    if sys.platform == "linux":  # else gloo looks the host's name up, and fails where it is unknown
        ours["GLOO_SOCKET_IFNAME"] = "lo"
    return {**ours, **os.environ, _LAUNCHED: "1"}

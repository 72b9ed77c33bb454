"""What `ganmill summary` prints: layers, then arithmetic and memory; JSON for scripts."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from gan.summary import Layer, Network, Summary

_console = Console(highlight=False, soft_wrap=True)
_PENALTY = {
    "quarter": "penalty on a quarter of the batch",
    "whole": "penalty on the whole batch",
    "none": "no penalty",
}


def summary(found: "Summary", *, as_json: bool) -> None:
    """Print the summary of a recipe's networks."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    classes = (
        f"{found.num_classes} classes"
        if found.num_classes
        else "1 class assumed (the data are not prepared yet)"
    )
    print(
        f"{found.recipe}: {found.preset}, {found.resolution} px, channels {found.channels}, "
        f"{classes}, activations in {found.precision}\n"
    )
    _console.print(_table(found))
    step, held = found.iteration, found.memory_bytes
    print(
        f"\nOne training iteration: {_short(step.gflops)} GFLOP an image (critic "
        f"{_short(step.critic_gflops)}, generator {_short(step.generator_gflops)}; "
        f"{_PENALTY[step.penalty]})"
    )
    print(
        f"Memory of one process: {_megabytes(held.training)} (weights {_megabytes(held.weights)}, "
        f"average {_megabytes(held.ema)}, Adam {_megabytes(held.adam)}, gradients "
        f"{_megabytes(held.gradients)}, activations of a batch of {found.batch} "
        f"{_megabytes(held.activations)})"
    )
    print(
        f"On the disk: a checkpoint {_megabytes(held.checkpoint)}, "
        f"the bundle {_megabytes(held.bundle)}"
    )
    print(
        "FLOPs are convolutions and matrix products, two for a multiplication and an addition; "
        "MFLOPs are of a forward pass of one image.\n"
        "Activations are what autograd keeps for the backward pass; "
        "workspaces and the data set come on top."
    )


def _table(found: "Summary") -> Table:
    table = Table(box=None, padding=(0, 1))
    for title in ("", "stage", "layer", "output"):
        table.add_column(title, no_wrap=True)
    for title in ("parameters", "MFLOPs"):
        table.add_column(title, no_wrap=True, justify="right")
    for name, network in (("generator", found.generator), ("critic", found.critic)):
        side = name
        for stage, layer in _staged(network):
            shape = "-" if layer.output is None else "x".join(map(str, layer.output or (1,)))
            table.add_row(
                side, stage, layer.name, shape, f"{layer.parameters:,}", f"{layer.mflops:,.2f}"
            )
            side = ""
        table.add_row(
            "", "", "total", "", f"{network.parameters:,}", f"{network.mflops:,.2f}", style="bold"
        )
    return table


def _staged(network: "Network") -> Iterator[tuple[str, "Layer"]]:
    """Yield each layer with the side that it works at, told once."""
    told = ""
    for layer in network.layers:
        side = f"{layer.output[-1]} px" if layer.output and len(layer.output) == 3 else ""
        yield ("" if side == told else side), layer
        told = side


def _short(gflops: float) -> str:
    return f"{gflops:.3g}" if gflops < 100 else f"{gflops:.0f}"


def _megabytes(count: int) -> str:
    """Return bytes as MB or GB, powers of 1000."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"

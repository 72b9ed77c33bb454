"""What the steps between two ticks showed, read from the device once, and what follows from it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan.bundle import latents
from gan.training.checkpoint import State
from gan.training.overfit import raise_of
from gan.training.sampler import indices
from gan.training.schedule import Values
from gan.training.session import Session
from gan.training.step import SUMMED
from gan.training.team import Team
from gan.training.watch import Tick

_PROBED = 128  # images of each kind that the critic scores to see whether it overfits
_COUNTS = ("nonfinite", "spikes")


@dataclass
class Meter:
    """The sums of the steps since the last tick.

    Attributes:
        sums: Of the stepper, on the device, float32; in the order of `SUMMED`.
        team: The processes whose mean counts.
        steps: Since the last tick.
    """

    sums: Tensor
    team: Team
    steps: int = 0

    def read(self, nimg: int, values: Values) -> tuple[Tick, dict[str, float]]:
        """Return the means as the guards want them and as a row, and start the sums anew."""
        mean = dict(zip(SUMMED, self.team.rows(self.sums).mean(dim=0).tolist(), strict=True))
        steps, self.steps = self.steps, 0
        self.sums.zero_()
        counts = {name: round(mean.pop(name)) for name in _COUNTS}
        seen = {name: value / steps for name, value in mean.items()}
        penalty = values.gamma / 2 * (seen["r1"] + seen["r2"])
        tick = Tick(
            nimg=nimg,
            steps=steps,
            penalty_share=penalty / seen["loss_d"] if seen["loss_d"] > 0 else 0.0,
            **counts,
            **{name: value for name, value in seen.items() if name != "objective_d"},
        )
        scheduled = {"lr": values.lr, "gamma": values.gamma, "augment": values.augment}
        return tick, {**seen, **counts, "penalty": penalty, **scheduled}

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON: a resumed training's next tick is the undisturbed one's."""
        return {"sums": self.team.rows(self.sums).tolist(), "steps": self.steps}

    def restore(self, record: dict[str, Any]) -> None:
        """Take back what `record` gave: this process's own, or the mean of another team's."""
        rows = torch.tensor(record["sums"])
        same = len(rows) == self.team.size
        self.sums.copy_(rows[self.team.rank] if same else rows.mean(dim=0))
        self.steps = record["steps"]


@torch.no_grad()
def adapted(session: Session, state: State, ticks: float) -> float:
    """Return the raise of the augmentation that the critic's overfitting now asks for.

    The critic scores images that it is trained on, images that it never saw, and generated ones.
    """
    spec = session.recipe.train
    if not (spec.adapt and spec.augment and len(session.held_out)):
        return state.boost
    nimg, device, critic = state.nimg, session.hardware.device, state.networks["D"]
    count = min(_PROBED, len(session.held_out))
    scores = []
    for role, ordinals in (("seen", session.train), ("held out", session.held_out)):
        places = indices(spec.seed, f"probe {role}", nimg, count, len(ordinals)).numpy()
        chosen = ordinals[places]
        c = torch.from_numpy(session.data.labels[chosen]).to(device)
        images = session.room.from_uint8(torch.from_numpy(session.data.images[chosen]).to(device))
        scores.append(critic(images, c).mean())
    z = latents(spec.seed, "probe", nimg, count=count, z_dim=session.z_dim).to(device)
    scores.append(critic(state.networks["G_ema"](z, c), c).mean())
    seen, held_out, made = (score.item() for score in scores)
    return float(raise_of(state.boost, seen, held_out, made, ticks))

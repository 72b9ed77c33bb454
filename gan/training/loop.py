"""The one training loop. Run it again after any interruption: it resumes, to the same bits on CPU.

An iteration is a critic step, a generator step and the average's update; progress is counted in
real images shown (`nimg`). On an alarm of the guards the training goes back to its last healthy
checkpoint and changes something (`gan.training.watch`).
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from gan.bundle import Bundle, open_bundle
from gan.durable import run_lock
from gan.errors import GanmillError, PreemptedError
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.capture import Captured
from gan.training.checkpoint import (
    State,
    forget_after,
    load_best,
    restore_checkpoint,
    save_best,
    save_checkpoint,
    save_healthy,
)
from gan.training.devices import hold_device
from gan.training.disk import require_space
from gan.training.distributed import failure_path
from gan.training.ema import keep_of
from gan.training.feed import Feed, sent
from gan.training.fit import settle_fit
from gan.training.guards import StopRequest
from gan.training.history import write_history
from gan.training.identity import begin, end
from gan.training.lookout import Lookout, Measure
from gan.training.plan import planned_images
from gan.training.recovery import (
    bytes_of,
    require_together,
    settle_for_best,
    step_back,
    too_large,
)
from gan.training.schedule import WARM_UP_GAMMA, Values, values_at
from gan.training.session import Session, build_stepper, fresh_state, open_session, pack_bundle
from gan.training.stall import StallGuard
from gan.training.stats import STATS, Stats
from gan.training.step import Dials
from gan.training.team import Team
from gan.training.watch import Alarm, remedy

_MAX_AUGMENT = 0.9  # at 1 the generator could not tell what is augmentation and leaks it


def train(
    layout: Layout,
    recipe: Recipe,
    stop: StopRequest,
    *,
    measure: Measure | None = None,
    checkpoint_seconds: float = 15.0,
    team: Team | None = None,
) -> Bundle:
    """Train the recipe's GAN on its prepared data and return the packed bundle.

    Args:
        layout: The workspace.
        recipe: What is trained, with its data prepared and its start pinned.
        stop: Asked after each step whether to save and stop.
        measure: The average -> figures, `fd` among them; None leaves the guards that need
            them off, and `budget.patience` without effect.
        checkpoint_seconds: Time between two checkpoints: what a kill may cost.
        team: The processes that share each batch; None for this one alone.

    Raises:
        SourceError: Too few images for a batch.
        BusyError: The same training runs in another process, or its GPU is another's.
        RecipeError: A training of other data or parameters has not ended.
        DamagedError: Prepared data, starting bundle or every checkpoint are damaged.
        DivergedError: The guards gave up before there was anything healthy; nothing is packed.
        PreemptedError: Stopped by a signal or a dead parent, after a checkpoint.
        GanmillError: Memory or disk are too small.
    """
    team, label = team or Team(), f"train {recipe.name}"
    lock = layout.lock(f"rank-{team.rank}-{recipe.name}" if team.rank else f"train-{recipe.name}")
    with run_lock(lock, label):
        session = open_session(layout, recipe, begin(layout, recipe), team)
        with hold_device(session.hardware.device, label):
            try:
                training = Training(session, stop, measure, checkpoint_seconds)
                degraded = training.run()
            except torch.OutOfMemoryError as error:
                raise GanmillError(too_large(session)) from error
            if team.leads:
                pack_bundle(session, training.state, degraded=degraded)
                write_history(session.folder / STATS, layout.history(recipe.name))
                end(session.folder, "ended")
            team.wait()
    return open_bundle(layout.bundle(recipe.name))


class Training:
    """A training on its way: the state, and what moves it.

    Attributes:
        state: Everything that the next step depends on.
    """

    def __init__(
        self,
        session: Session,
        stop: StopRequest,
        measure: Measure | None,
        checkpoint_seconds: float,
    ) -> None:
        """Take the newest whole checkpoint, or begin."""
        self._session, self._stop, self._measure = session, stop, measure
        self._checkpoint_seconds = checkpoint_seconds
        recipe, spec = session.recipe, session.recipe.train
        self._label = f"train {recipe.name}"
        self._feed = Feed(session.data, session.train, session.room, spec, session.z_dim)
        self._feed.place(session.hardware.device, session.team)
        self._fit = settle_fit(session, self._feed)
        self._planned = planned_images(session, self._feed, self._fit)
        self.state = fresh_state(session)
        session.team.wait()  # the folder is made, and nobody writes into it while others read
        notes = restore_checkpoint(session.folder, self.state)
        session.team.wait()
        path = session.folder / STATS if session.team.leads else None
        state = self.state
        self._stats = Stats(path, self._label, state.nimg, state.attempt, state.seconds)
        if session.team.leads:
            for note in notes:
                print(f"{note} Going back to the one before.", file=sys.stderr)
            if state.nimg:
                print(f"{self._label}: resuming at {state.nimg / 1000:.1f} kimg", file=sys.stderr)
            elif self._fit.device != "cpu" or self._fit.parts > 1:
                self._stats.event(0, "fit", self._fit.said)
            if not state.nimg and state.gamma is not None:
                said = f"gamma {state.gamma:.3g}, as the training that this one starts from"
                self._stats.event(0, "gamma", said, gamma=state.gamma)
            require_space(session.folder, 3 * bytes_of(state))
        self._prepare()

    def run(self) -> bool:
        """Step until the budget is spent; return whether the guards gave up on the way."""
        saved = time.monotonic()
        session, team = self._session, self._session.team
        failure = failure_path(session.layout, session.recipe.name)
        with StallGuard(session.folder, self._label, failure) as stall:
            over = self._is_over()
            while not over:
                before = self.state.nimg
                self._iterate()
                stall.beat(self.state.nimg, self.state.seconds)
                due = time.monotonic() - saved > self._checkpoint_seconds
                reason, (over, due) = team.heard(self._stop.reason(), self._is_over(), due)
                look = self._lookout.look(before, self._values(), over=over)
                if look.alarm is not None:
                    if not self._answer(look.alarm):
                        self._lookout.finish()
                        return True
                    over = False
                    continue
                if look.measured is not None:
                    self._keep(look.measured.get("fd"))
                over = over or self._is_impatient()
                if over or reason or due:
                    self._save(save_checkpoint)
                    saved = time.monotonic()
                if reason and not over:
                    at = f"{self.state.nimg / 1000:.1f} kimg"
                    raise PreemptedError(
                        f"{self._label}: stopped at {at} ({reason}); the same command resumes."
                    )
        self._take_best()
        self._lookout.finish()
        return False

    def _take_best(self) -> None:
        """Go back to the average that measured best, where that was not the last one.

        More images are no promise: above all what goes on from a champion may only lose.
        """
        best, nimg, attempt = self.state.best, self.state.nimg, self.state.attempt
        if best and best["nimg"] != nimg and load_best(self._session.folder, self.state):
            self.state.attempt = attempt
            said = f"packing the average of {best['nimg'] / 1000:.1f} kimg, which measured best "
            self._stats.event(nimg, "best", f"{said}(fd {best['fd']:.2f})")

    def _prepare(self) -> None:
        """Build what follows from the state: the step, the lookout, a roll-back's remedies."""
        session, state, spec = self._session, self.state, self._session.recipe.train
        penalised = spec.gamma == "auto" or spec.gamma > 0
        require_together(session, state)
        self._remedy, parts = remedy(state.attempt, penalised=penalised), self._fit.parts
        stepper = build_stepper(session, state, self._remedy, session.team, parts=parts)
        self._take = stepper.take
        if self._fit.captures:
            self._take = Captured(stepper, state.optimizers.values(), self._tell).take
        self._feed.restart(state.attempt)
        self._lookout = Lookout(session, state, self._stats, self._measure, self._planned)
        self._lookout.attach(stepper)

    def _iterate(self) -> None:
        state, spec, values = self.state, self._session.recipe.train, self._values()
        for optimizer in state.optimizers.values():
            group = optimizer.param_groups[0]
            group["lr"].fill_(values.lr)
            group["betas"] = (spec.beta1, values.beta2)
        keep = keep_of(spec.batch_size, values.ema_half_life)
        limits = self._lookout.spike_limits()
        numbers = torch.tensor([values.gamma, keep, values.augment, *limits])
        dials = Dials(*sent(numbers, self._session.hardware.device))
        self._take(*self._feed.at(state.nimg), dials)
        state.nimg += spec.batch_size
        state.seconds = self._stats.seconds
        self._lookout.count()
        self._stats.count(spec.batch_size)

    def _values(self) -> Values:
        """Return the schedule now, with what roll-backs and overfitting changed in it."""
        state, spec, remedy_now = self.state, self._session.recipe.train, self._remedy
        gamma = (state.gamma or WARM_UP_GAMMA) if spec.gamma == "auto" else spec.gamma
        warm = self._session.start is not None
        values = values_at(state.nimg, self._planned, spec, gamma=gamma, warm=warm)
        augment = values.augment + state.boost + remedy_now.augment_raise
        return replace(
            values,
            lr=values.lr * remedy_now.lr_factor,
            gamma=values.gamma * remedy_now.gamma_factor,
            augment=min(_MAX_AUGMENT, augment),
        )

    def _is_over(self) -> bool:
        budget = self._session.recipe.train.budget
        late = budget.minutes is not None and self.state.seconds >= 60 * budget.minutes
        return self.state.nimg >= self._planned or late or self._is_impatient()

    def _is_impatient(self) -> bool:
        """Return whether too many measurements in a row brought no new best distance."""
        patience = self._session.recipe.train.budget.patience
        return patience is not None and self.state.best.get("stale", 0) >= patience

    def _keep(self, distance: float | None) -> None:
        """Save a checkpoint marked healthy, and the best one where the distance is a new best."""
        best = self.state.best
        if distance is not None:
            if not best or distance < best["fd"]:
                self.state.best = {"fd": distance, "nimg": self.state.nimg, "stale": 0}
                self._save(save_best)
            else:
                self.state.best = {**best, "stale": best["stale"] + 1}
        self._save(save_healthy)

    def _answer(self, alarm: Alarm) -> bool:
        """Go back and change something, or give up; return whether training goes on."""
        nimg, limit = self.state.nimg, self._session.recipe.train.max_rollbacks
        said = f"{alarm.guard}: {alarm.message}"
        if self.state.attempt >= limit:
            settle_for_best(self._session, self.state, said)
            kimg = self.state.nimg / 1000
            said += f" Given up: the best healthy weights, of {kimg:.1f} kimg, packed as degraded"
            self._stats.event(nimg, "stop", said, guard=alarm.guard)
            return False
        seconds = self._stats.seconds
        self.state = step_back(self._session, self.state, alarm)
        self.state.seconds = seconds
        self._prepare()
        attempt, kimg = self.state.attempt, self.state.nimg / 1000
        said += f" Back to {kimg:.1f} kimg, roll-back {attempt} of {limit} with {self._remedy}"
        self._stats.event(nimg, "rollback", said, guard=alarm.guard)
        self._stats.attempt = attempt
        self._save(save_checkpoint)
        if self._session.team.leads:
            forget_after(self._session.folder, self.state.nimg)
        return True

    def _tell(self, said: str) -> None:
        self._stats.event(self.state.nimg, "capture", said)

    def _save(self, save: Callable[[Path, State], object]) -> None:
        """Save the state, with what the lookout knows."""
        self.state.watch = self._lookout.record()
        if self._session.team.leads:
            require_space(self._session.folder, bytes_of(self.state))
            save(self._session.folder, self.state)
        self._session.team.wait()  # then each process may read what was saved

"""What a training does when a guard speaks up, or when the machine is too small for it."""

from gan.errors import DivergedError, UsageError
from gan.hardware import free_bytes
from gan.training.checkpoint import State, load_best, load_healthy
from gan.training.session import Session, fresh_state
from gan.training.watch import Alarm


def step_back(session: Session, state: State, alarm: Alarm) -> State:
    """Return the state before the alarm's window, for one more attempt.

    It is the newest healthy checkpoint at or before the window, or the very start. The attempt's
    number is part of every place that randomness is drawn at, so what follows differs.
    """
    attempt = state.attempt + 1
    if not load_healthy(session.folder, state, alarm.since_nimg):
        state = fresh_state(session, attempt)
    state.attempt = attempt
    return state


def require_together(session: Session, state: State) -> None:
    """Give every process the leader's weights; they must have come from one checkpoint.

    Raises:
        UsageError: This process loaded another one: the machines do not share the workspace.
    """
    mine, team = [state.nimg, state.attempt], session.team
    if (led := team.told(mine)) != mine:
        raise UsageError(
            f"train {session.recipe.name}: process {team.rank} found {state.nimg / 1000:.1f} kimg "
            f"in {session.folder}, the first one {led[0] / 1000:.1f}. Start every machine in the "
            "same shared workspace."
        )
    team.same_weights(state.networks.values())


def settle_for_best(session: Session, state: State, said: str) -> None:
    """Fill `state` with the best healthy weights there are.

    Raises:
        DivergedError: There are none; nothing can be packed.
    """
    attempt, nimg = state.attempt, state.nimg
    if not (load_best(session.folder, state) or load_healthy(session.folder, state, nimg)):
        raise DivergedError(
            f"train {session.recipe.name}: {said} After {attempt} roll-backs there is nothing "
            "healthy to fall back to. Lower train.lr or raise train.gamma in params.yaml."
        )
    state.attempt = attempt


def bytes_of(state: State) -> int:
    """Return about how large a checkpoint is: weights, two moments of each, and the average."""
    weights = [p.numel() for name in ("G", "D") for p in state.networks[name].parameters()]
    average = [p.numel() for p in state.networks["G_ema"].parameters()]
    return 4 * (3 * sum(weights) + sum(average))


def too_large(session: Session) -> str:
    """Return what to say when the device ran out of memory in the middle of a training.

    It fitted when the training began, so what took the memory is most likely another process. The
    step is not made smaller by itself: that would be another training from here on, unnoticed.
    """
    spec, data, device = session.recipe.train, session.data, session.hardware.device
    return (
        f"train {session.recipe.name}: out of memory with {spec.batch_size // session.team.size} "
        f"images of {data.resolution} px a step on {device}, {free_bytes(device) / 1e9:.2g} GB "
        "free. End what else takes memory there and run the same command: it goes on from the "
        f"last checkpoint. Or remove {session.folder / 'fit.json'} first: then it takes the step "
        "in smaller parts. Or begin anew with a lower train.batch_size or a smaller model.preset."
    )

"""How many images a training plans: its schedules and looks are spread over them.

`budget.kimg` says so. With minutes alone it is what this machine shows in that time, by a speed
that is measured when the training begins and kept in its folder as `plan.json`: whoever resumes it
has the same schedule, and a longer budget a longer one. A training ends at whichever end comes
first.
"""

from gan.durable import read_json, write_json
from gan.sections import BudgetSpec
from gan.training.feed import Feed
from gan.training.fit import Fit
from gan.training.session import Session
from gan.training.trial import release, try_out

PLAN = "plan.json"


def planned_images(session: Session, feed: Feed, fit: Fit) -> int:
    """Return how many real images the whole training plans to show, all processes together.

    Args:
        session: The training.
        feed: Placed on its device.
        fit: How a step is laid on the device.

    Raises:
        DamagedError: `plan.json` is not readable.
    """
    budget, path, team = session.recipe.train.budget, session.folder / PLAN, session.team
    if budget.kimg is not None:
        return images_of(budget, 0.0)
    if team.told(path.exists()):
        speed = read_json(path)["images_per_second"] if team.leads else 0.0
    else:
        trial = try_out(session, feed, parts=fit.parts, captures=fit.captures)
        release(session.hardware.device)
        speed = trial.images_per_second * team.size
        if team.leads:
            write_json(path, {"images_per_second": round(speed, 3)})
            speed = round(speed, 3)
    return images_of(budget, team.told(speed))


def images_of(budget: BudgetSpec, images_per_second: float) -> int:
    """Return a budget in images, at a speed that matters where it says minutes alone."""
    if budget.kimg is not None:
        return round(budget.kimg * 1000)
    assert budget.minutes is not None  # a budget has an end
    return max(1, round(60 * budget.minutes * images_per_second))

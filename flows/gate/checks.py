"""What the gate looks at, check by check: evidence and limits in, one plain sentence out.

A check whose limit is None is left out. What is missing, unlike, not finite or out of order is
`unknown`. Where a figure has an interval, the bound that speaks against the candidate decides; only
the worst class is otherwise, and says why.
"""

import math
from collections.abc import Callable
from typing import Literal

from flows.gate.evidence import Canary, Evidence, Paired, Relative
from gan.sections import GateSpec

Outcome = Literal["pass", "fail", "unknown"]
Finding = tuple[Outcome, str]
Check = Callable[[Evidence, GateSpec], Finding | None]

CANARY_ASSETS = 16


def nothing_is_amiss(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Say what could not be found out; nothing when all could."""
    del gate
    if not evidence.problems:
        return None
    said = "; ".join(f"{part}: {why}" for part, why in sorted(evidence.problems.items()))
    return "unknown", f"not all could be found out. {said}"


def against_champion(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Hold the paired distance to the present champion; with none the floor decides alone."""
    if evidence.champion_digest is None:
        if evidence.paired or evidence.best or evidence.champion_canary:
            return "unknown", "something is compared with a champion, but none is named."
        return "pass", "there is no champion yet; the floor alone decides."
    if gate.margin is None:
        return None
    paired = evidence.paired
    if problem := _unlike(evidence, paired, evidence.champion_digest):
        return "unknown", problem
    assert paired is not None  # else it is unlike
    return _within_margin(paired, gate.margin, "the champion's")


def against_best(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Hold the paired distance to the best champion so far, when it is not the present one."""
    best = evidence.best
    if best is None or gate.margin is None or evidence.champion_digest is None:
        return None
    if problem := _unlike(evidence, best, best.champion_digest):
        return "unknown", f"of the best champion so far: {problem}"
    name = f"the best champion's so far ({best.champion_digest[:12]}), which was"
    return _within_margin(best, gate.margin, name)


def _within_margin(paired: Paired, margin: float, whose: str) -> Finding:
    allowed = margin * paired.champion_fd
    difference = paired.difference
    said = f"distance {difference.value:+.4g} against {whose} {paired.champion_fd:.4g}, "
    said += f"at most {difference.high:+.4g}; the gate allows {allowed:+.4g}."
    return ("pass" if difference.high <= allowed else "fail"), said


def floor(evidence: Evidence, gate: GateSpec) -> Finding:
    """Hold the upper bound of the distance to a share of what noise scores."""
    share = evidence.fd_share
    if share is None:
        return "unknown", "there is no fd_share of the candidate."
    if not share.is_sound or share.value < 0:
        return "unknown", f"fd_share is no measurement: {share}."
    said = f"fd_share {share.value:.3f}, at most {share.high:.3f}; the gate allows "
    said += f"{gate.max_fd_share:g} of what noise scores."
    return ("pass" if share.high <= gate.max_fd_share else "fail"), said


def diversity(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Hold the lower bounds of recall and coverage to the champion's."""
    if gate.diversity is None or evidence.champion_digest is None:
        return None
    paired = evidence.paired
    if problem := _unlike(evidence, paired, evidence.champion_digest):
        return "unknown", f"of recall and coverage: {problem}"
    assert paired is not None  # else it is unlike
    found = [
        _kept("recall", paired.recall, gate.diversity),
        _kept("coverage", paired.coverage, gate.diversity),
    ]
    outcomes = {outcome for outcome, _ in found}
    return worst_of(outcomes), f"{'; '.join(said for _, said in found)}."


def _kept(name: str, figure: Relative | None, share: float) -> Finding:
    if figure is None:
        return "unknown", f"there is no {name} of both"
    if not figure.is_sound:
        return "unknown", f"{name} is no measurement: {figure}"
    # A share is never below 0, so no more can be lost than the champion has.
    low = max(figure.difference.low, -figure.champion)
    allowed = -share * figure.champion
    said = f"{name} {figure.difference.value:+.3f} against the champion's {figure.champion:.3f}, "
    said += f"at least {low:+.3f}, the gate allows {allowed:+.3f}"
    return ("pass" if low >= allowed else "fail"), said


def worst_class(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Refuse a candidate of which a class is *shown* to be covered less by more than the limit.

    Shown, not "not excluded" as everywhere else: of many small classes some interval reaches below
    any limit by chance alone, so that no candidate would pass. A fall of all classes together is
    the business of `diversity`.
    """
    if gate.worst_class is None or evidence.champion_digest is None:
        return None
    paired, share = evidence.paired, gate.worst_class
    if problem := _unlike(evidence, paired, evidence.champion_digest):
        return "unknown", f"of the classes: {problem}"
    assert paired is not None  # else it is unlike
    if not paired.classes:
        return (
            "unknown",
            "there is no coverage of any class. Set gate.worst_class: null to do without.",
        )
    odd = sorted(name for name, figure in paired.classes.items() if not figure.is_sound)
    sound = {name: figure for name, figure in paired.classes.items() if name not in odd}
    # The upper bound, where every other check takes the lower: see above.
    beyond = {n: f.difference.high + share * f.champion for n, f in sound.items()}
    fallen = sorted(name for name, rest in beyond.items() if rest < 0)
    judged = f"{len(paired.classes)} judged"
    if fallen:
        worst = min(fallen, key=beyond.__getitem__)
        said = f"{_of_class(worst, sound[worst], share)}; of {judged} so fell: {', '.join(fallen)}."
        return "fail", said
    if odd:
        return "unknown", f"coverage of class {odd[0]!r} is no measurement; {judged}."
    lowest = min(sound, key=lambda name: (sound[name].difference.value, name))
    said = f"no class is shown to have lost more coverage than the gate allows, {judged}; the "
    return "pass", f"{said}lowest is {_of_class(lowest, sound[lowest], share)}."


def _of_class(name: str, figure: Relative, share: float) -> str:
    found = figure.difference
    return (
        f"class {name!r}: coverage {found.value:+.3f} against the champion's "
        f"{figure.champion:.3f}, {found.low:+.3f} to {found.high:+.3f}, the gate allows "
        f"{-share * figure.champion:+.3f}"
    )


def memorisation(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Refuse a candidate that copies training images."""
    if not gate.memorisation:
        return None
    if evidence.copies is None:
        return "unknown", (
            "whether it copies training images was not measured, as it never is of under 640 "
            "images, for none is held out: add images or set gate.memorisation: false."
        )
    if evidence.copies is not False:
        return "fail", "it copies training images, beyond the doubt of the intervals."
    return "pass", "it is not seen to copy training images."


def candidate_checks(evidence: Evidence, gate: GateSpec) -> Finding:
    """Ask for every check that was tried on the candidate, and that some were."""
    del gate
    broken = sorted(name for name, held in evidence.checks.items() if held is not True)
    if broken:
        return "fail", f"checks did not hold: {', '.join(broken)}."
    if not evidence.candidate_digest or not evidence.metric_id:
        return "unknown", "the evidence does not say which model or which metric it is about."
    if not evidence.checks:
        return "unknown", "nothing was checked on the candidate."
    return "pass", f"checks held: {', '.join(sorted(evidence.checks))}."


def canary(evidence: Evidence, gate: GateSpec) -> Finding:
    """Ask that it loads and mints in a clean process, and that the filters take what comes out."""
    found = evidence.canary
    if found is None:
        return "unknown", "it was not tried in a clean process."
    if found.bundle_digest != evidence.candidate_digest:
        return "unknown", "another bundle was tried in a clean process."
    if found.problem:
        return "fail", f"in a clean process: {found.problem}"
    if found.count < CANARY_ASSETS or not 0 <= found.accepted <= found.count:
        said = f"{found.count} assets minted in a clean process, {found.accepted} of them accepted"
        return "unknown", f"{said}: {CANARY_ASSETS} are wanted."
    said = f"in a clean process it loads and mints {found.count} assets, {found.accepted} of them "
    said += "accepted"
    if gate.min_accepted is None:
        return "pass", f"{said}."
    enough = found.accepted / found.count >= gate.min_accepted
    wanted = f"the gate wants a share of {gate.min_accepted:g}"
    return ("pass" if enough else "fail"), f"{said}; {wanted}."


def resources(evidence: Evidence, gate: GateSpec) -> Finding | None:
    """Hold time and memory of an asset to the champion's."""
    if gate.resources is None:
        return None
    if evidence.champion_digest is None:
        return "pass", "time and memory: there is no champion yet to compare with."
    ours, theirs = evidence.canary, evidence.champion_canary
    if ours is None or theirs is None:
        return "unknown", "time and memory of candidate and champion were not both measured."
    digests = (ours.bundle_digest, theirs.bundle_digest)
    if digests != (evidence.candidate_digest, evidence.champion_digest):
        return "unknown", "time and memory were measured of other bundles."
    for who, each in (("candidate", ours), ("champion", theirs)):
        if problem := _no_measurement(each):
            return "unknown", f"time and memory of the {who}: {problem}"
    times, over = gate.resources, []
    if ours.seconds_per_image > times * theirs.seconds_per_image:
        over.append("time")
    if ours.memory_mb > times * theirs.memory_mb:
        over.append("memory")
    said = f"{ours.seconds_per_image:.3g} s and {ours.memory_mb:,.0f} MB an asset, the champion "
    said += f"{theirs.seconds_per_image:.3g} s and {theirs.memory_mb:,.0f} MB; the gate allows "
    said += f"{times:g} times as much"
    said += f", too much {' and '.join(over)}." if over else "."
    return ("fail" if over else "pass"), said


def _no_measurement(found: Canary) -> str:
    if found.problem:
        return found.problem
    sizes = (found.seconds_per_image, found.memory_mb)
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        return f"no measurement: {sizes[0]} s, {sizes[1]} MB."
    return ""


def _unlike(evidence: Evidence, paired: Paired | None, champion_digest: str) -> str:
    """Return why a comparison does not belong to this evidence, or ""."""
    if paired is None:
        return "it was not compared with the champion."
    if not paired.candidate_digest or paired.candidate_digest != evidence.candidate_digest:
        return "the comparison is about another candidate."
    if not champion_digest or paired.champion_digest != champion_digest:
        return "the comparison is with another champion than the present one."
    ids = {evidence.metric_id, paired.candidate_metric_id, paired.champion_metric_id}
    if len(ids) > 1 or "" in ids:
        return "candidate and champion were measured with unlike metrics."
    return _no_distance(paired)


def _no_distance(paired: Paired) -> str:
    if not math.isfinite(paired.champion_fd) or paired.champion_fd < 0:
        return f"the champion's distance is no measurement: {paired.champion_fd}."
    if not paired.difference.is_sound:
        return f"the paired difference is no measurement: {paired.difference}."
    return ""


def worst_of(outcomes: set[Outcome]) -> Outcome:
    """Return `fail` where one is, `pass` where all are, else `unknown`; of none `unknown`."""
    if "fail" in outcomes:
        return "fail"
    return "pass" if outcomes == {"pass"} else "unknown"


# In the order in which people ask: the first that is not a pass is told first.
CHECKS: tuple[Check, ...] = (
    nothing_is_amiss,
    against_champion,
    against_best,
    floor,
    diversity,
    worst_class,
    memorisation,
    canary,
    resources,
    candidate_checks,
)

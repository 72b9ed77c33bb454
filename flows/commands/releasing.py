"""Commands that let a model out, take it back, and say who did: gate to ledger."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.session import place, require_recipe, servers

if TYPE_CHECKING:
    from flows.release import Promoted
    from flows.settings import Settings
    from gan.paths import Layout

commands = typer.Typer()
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
By = Annotated[
    str | None,
    typer.Option(help="Who says so; GANMILL_ACTOR or the login name if not given."),
]
Reason = Annotated[str, typer.Option(help="Why; it stands in the ledger.")]
Evidence = Annotated[
    str | None,
    typer.Option(help="The evidence digest that you looked at; refused if it is another by now."),
]


@commands.command(epilog="Example: ganmill gate stickers --self-test")
def gate(
    recipe: RecipeName,
    version: Annotated[
        int | None, typer.Option(help="A registered version; the challenger if not given.")
    ] = None,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test", help="Prove that it can say no: a worse, a broken, a copying model."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge a version against the champion and show the evidence; nothing is promoted."""
    layout, settings = place()
    require_recipe(layout, recipe)
    with servers(layout, settings):
        from flows.commands import gating

        if self_test:
            gating.prove(layout, settings, recipe, as_json=as_json)
        else:
            gating.judge(layout, settings, recipe, version, as_json=as_json)


@commands.command(epilog='Example: ganmill promote stickers --version 2 --reason "brighter"')
def promote(
    recipe: RecipeName,
    reason: Reason,
    by: By = None,
    version: Annotated[
        int | None, typer.Option(help="A registered version; the challenger if not given.")
    ] = None,
) -> None:
    """Make a registered version the champion, if the gate passes it; recorded in the ledger."""
    layout, settings = place()
    require_recipe(layout, recipe)
    with servers(layout, settings) as run:
        actor = by or settings.actor
        _tell(run("flows.promote", "promote", recipe, version, actor, reason))


@commands.command(epilog='Example: ganmill approve stickers --reason "hearts are clean again"')
def approve(recipe: RecipeName, reason: Reason, by: By = None, evidence: Evidence = None) -> None:
    """Let out the version that passed the gate and waits for a person's word."""
    layout, settings = place()
    with servers(layout, settings):
        _decide(layout, settings, recipe, "approve", by, reason, evidence)


@commands.command(epilog='Example: ganmill reject stickers --reason "two classes look alike"')
def reject(recipe: RecipeName, reason: Reason, by: By = None, evidence: Evidence = None) -> None:
    """Turn down the version that waits for a person's word; the champion stays."""
    layout, settings = place()
    with servers(layout, settings):
        _decide(layout, settings, recipe, "reject", by, reason, evidence)


@commands.command(epilog='Example: ganmill rollback stickers --reason "blurred hearts"')
def rollback(recipe: RecipeName, reason: Reason, by: By = None) -> None:
    """Make the champion before this one champion again; recorded in the ledger."""
    layout, settings = place()
    require_recipe(layout, recipe)
    with servers(layout, settings):
        from flows import notices, release

        done = release.rollback(layout, settings, recipe, actor=by or settings.actor, reason=reason)
        says = f"v{done.previous} was taken back: {done.entry.reason}"
        payload: dict[str, str | int] = {
            "version": done.version,
            "digest": done.digest,
            "by": done.entry.actor,
        }
        notices.announce(layout, settings, "model.rolled_back", recipe, says, payload)
        print(f"{recipe} v{done.version} is champion again; ledger line {done.entry.seq}")
        for passed in done.skipped:
            print(f"Passed over: {passed}")
        print(f"The next batch is minted from it; now: ganmill generate {recipe}")


@commands.command(epilog='Example: ganmill hold stickers --reason "complaints about the cats"')
def hold(recipe: RecipeName, reason: Reason, by: By = None) -> None:
    """Stop production: nothing is minted, by hand or on schedule, until `ganmill resume`."""
    layout, settings = place()
    require_recipe(layout, recipe)
    from flows import notices, release

    entry = release.hold(layout, recipe, actor=by or settings.actor, reason=reason)
    says = f"production is on hold by {entry.actor}: {entry.reason}"
    notices.announce(layout, settings, "batch.held", recipe, says, {"by": entry.actor})
    print(f"{recipe} is on hold; ledger line {entry.seq}")
    print(f'Go on with: ganmill resume {recipe} --reason "..."')


@commands.command(epilog='Example: ganmill resume stickers --reason "the cats are fine"')
def resume(recipe: RecipeName, reason: Reason, by: By = None) -> None:
    """Let production go on after a hold."""
    layout, settings = place()
    require_recipe(layout, recipe)
    from flows import release

    entry = release.resume(layout, recipe, actor=by or settings.actor, reason=reason)
    print(f"{recipe} is minted again; ledger line {entry.seq}")
    print(f"Next: ganmill generate {recipe}")


@commands.command(epilog="Example: ganmill ledger stickers --tags")
def ledger(
    recipe: Annotated[
        str | None, typer.Argument(help="Only this recipe's lines; all if not given.")
    ] = None,
    tags: Annotated[
        bool, typer.Option("--tags", help="Write each promotion as an annotated git tag.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who let which model out, when and why, and check that no line was changed or lost."""
    layout, settings = place()
    from flows.commands import record

    record.show(layout, settings, recipe, as_json=as_json)
    if tags:
        record.export(layout, recipe)


def _decide(
    layout: "Layout",
    settings: "Settings",
    recipe: str,
    decision: Literal["approve", "reject"],
    by: str | None,
    reason: str,
    evidence: str | None,
) -> None:
    from flows import approval
    from flows.approve import close_waiting, settle
    from flows.release import Promoted
    from gan.recipe import load_recipe

    loaded = load_recipe(layout.params, recipe)
    done = approval.decide(
        layout,
        settings,
        loaded,
        decision=decision,
        actor=by or settings.actor,
        reason=reason,
        evidence_digest=evidence,
    )
    settle(layout, settings, done)
    entry = done.entry if isinstance(done, Promoted) else done
    close_waiting(settings, entry.evidence_digest, f"{decision} by {entry.actor} at a terminal")
    if isinstance(done, Promoted):
        _tell(done)
    else:
        print(f"{recipe} v{entry.to_version} is rejected; ledger line {entry.seq}")
        print("The champion stays, and a retraining does not ask for this version again.")


def _tell(done: "Promoted") -> None:
    before = f"v{done.previous}" if done.previous else "none"
    print(
        f"{done.recipe} v{done.version} is champion (before: {before}); "
        f"ledger line {done.entry.seq}"
    )
    print(
        f"Mint from it: ganmill generate {done.recipe}\n"
        f'Take it back: ganmill rollback {done.recipe} --reason "..."'
    )

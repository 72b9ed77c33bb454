"""What is interrupted by the fault tests: every kind of writing, on real parts, small.

Each work has a beginning (the last good version), the work itself, and a check that what a reader
finds is whole: the old version, the new one, or a clear refusal, never a mixture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from flows import ledger
from gan.assets.batch import Marks, mint
from gan.assets.manifest import BATCH, verify
from gan.assets.request import Request
from gan.bundle import open_bundle
from gan.durable import SUMS, drop_partials, read_json, write_json
from gan.errors import DamagedError
from gan.marking.identity import Signing, open_identity
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec
from gan.training.checkpoint import (
    State,
    forget_after,
    load_best,
    load_healthy,
    restore_checkpoint,
    save_best,
    save_checkpoint,
    save_healthy,
)
from gan.training.stats import STATS, Stats, read_stats
from tests.gan.bundles import pack_untrained

OPEN = ScreensSpec(off_class=0, near_distance=0, past=0, copies=0)


@dataclass(frozen=True)
class Work:
    """Something that writes.

    Attributes:
        begin: Puts the last good version into a folder.
        do: Writes the next one; done again after any failure, it ends with the same bytes.
        check: Asserts that what lies there is whole.
    """

    begin: Callable[[Path], None]
    do: Callable[[Path], None]
    check: Callable[[Path], None]


def state(seed: int = 1, nimg: int = 0) -> State:
    """Return small networks after a step of Adam, equal for equal seeds."""
    torch.manual_seed(seed)
    networks: dict[str, nn.Module] = {
        name: nn.Linear(3, 2, bias=False) for name in ("G", "D", "G_ema")
    }
    optimizers = {
        name: torch.optim.Adam(networks[name].parameters(), betas=(0.0, 0.9), fused=True)
        for name in "GD"
    }
    for name, optimizer in optimizers.items():
        networks[name](torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    return State(networks, optimizers, nimg, float(nimg))


def _save_all(folder: Path, nimg: int) -> None:
    saved = state(nimg, nimg)
    for save in (save_checkpoint, save_healthy, save_best):
        save(folder, saved)


def _begin_checkpoint(folder: Path) -> None:
    for nimg in (64, 128):
        _save_all(folder, nimg)


def _save(folder: Path) -> None:
    restore_checkpoint(folder, state())  # as a training does when it starts again
    _save_all(folder, 192)


def _go_back(folder: Path) -> None:
    back = state()
    restore_checkpoint(folder, back)
    load_healthy(folder, back, before_nimg=64)
    back.attempt = 1
    save_checkpoint(folder, back)
    forget_after(folder, back.nimg)


def _check_checkpoint(folder: Path) -> None:
    found = state()
    assert restore_checkpoint(folder, found) == []
    _require_as_saved(found)
    assert load_healthy(folder, found, before_nimg=192)
    _require_as_saved(found)
    if load_best(folder, found):
        _require_as_saved(found)


def _require_as_saved(found: State) -> None:
    assert found.nimg in {64, 128, 192}
    wanted = state(found.nimg).networks["D"].state_dict()
    assert all(torch.equal(wanted[k], v) for k, v in found.networks["D"].state_dict().items())


def _begin_bundle(folder: Path) -> None:
    pack_untrained(folder, ["a", "b"], seed=1)


def _pack_anew(folder: Path) -> None:
    pack_untrained(folder, ["a", "b"], seed=2)


def _check_bundle(folder: Path) -> None:
    try:
        found = open_bundle(folder)
    except DamagedError:  # between two versions: refused, not mixed; packing again mends it
        return
    assert found.card.seed in {1, 2}
    found.generator()


def _begin_stats(folder: Path) -> None:
    _write_stats(folder, 8)


def _write_stats(folder: Path, nimg: int) -> None:
    folder.mkdir(exist_ok=True)
    stats = Stats(folder / STATS, "train tiny", nimg - 8, 0, 0.0)
    stats.event(nimg, "gamma", "gamma 1 chosen")
    stats.event(nimg, "skip", "1 of 8 steps skipped")


def _go_on_with_stats(folder: Path) -> None:
    drop_partials(folder)  # as `restore_checkpoint` does before it
    _write_stats(folder, 16)


def _check_stats(folder: Path) -> None:
    found = [(row["nimg"], row["event"]) for row in read_stats(folder / STATS)]
    wanted = [(8, "gamma"), (8, "skip"), (16, "gamma"), (16, "skip")]
    assert found == wanted[: max(2, len(found))]


def _signing(folder: Path) -> Signing:
    """Return one signer for all folders that are compared: beside them, not in them."""
    return Signing(folder.parent / "signing")


def _model(folder: Path) -> Path:
    """Return one bundle for all folders that are compared: packing it is another work."""
    return folder.parent / "model"


def _begin_batch(folder: Path) -> None:
    open_identity(_signing(folder))
    if not (_model(folder) / SUMS).exists():
        pack_untrained(_model(folder), ["a", "b"], seed=1)
    (folder / "batches").mkdir()
    ask_for_batch(folder, CampaignSpec(count=1, rejection=0, size_px=16, screens=OPEN))


def ask_for_batch(folder: Path, spec: CampaignSpec) -> None:
    """Say what the work `batch` is to mint in a folder."""
    write_json(folder / "campaign.json", spec.model_dump(mode="json"))


def _mint(folder: Path) -> None:
    spec = CampaignSpec.model_validate(read_json(folder / "campaign.json"))
    bundle = open_bundle(_model(folder))
    mint(
        bundle,
        Request("tiny", spec, "2026-11-21"),
        folder / "batches",
        Marks(_signing(folder)),
        References(None, None, folder.parent / "store"),
        progress=lambda _: None,
    )


def _check_batch(folder: Path) -> None:
    for batch in (folder / "batches").iterdir():
        if (batch / BATCH).exists():
            assert verify(batch) == []


def _append(folder: Path, event: ledger.Event) -> None:
    ledger.append(folder / "ledger.jsonl", ledger.Entry(event, "tiny", "Ada", "why"))


def _begin_ledger(folder: Path) -> None:
    _append(folder, "intend")


def _close(folder: Path) -> None:
    entries = ledger.read(folder / "ledger.jsonl")
    if ledger.open_intent(entries, "tiny"):  # as `reconcile` asks before it finishes
        _append(folder, "done")


def _check_ledger(folder: Path) -> None:
    events = [entry.event for entry in ledger.read(folder / "ledger.jsonl")]
    assert events in (["intend"], ["intend", "done"])


WORKS = {
    "checkpoint": Work(_begin_checkpoint, _save, _check_checkpoint),
    "roll-back": Work(_begin_checkpoint, _go_back, _check_checkpoint),
    "bundle": Work(_begin_bundle, _pack_anew, _check_bundle),
    "stats": Work(_begin_stats, _go_on_with_stats, _check_stats),
    "batch": Work(_begin_batch, _mint, _check_batch),
    "ledger": Work(_begin_ledger, _close, _check_ledger),
}

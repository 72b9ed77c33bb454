"""What the drills share: a mill with a champion that something happens to, and a calm twin.

What must hold after each: the model comes out bit by bit as if nothing had happened, once; champion
and ledger agree; nothing is left over.
"""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from flows import ledger
from gan.bundle import open_bundle
from tests.faults.living import Mill

KIMG = 6.0  # some 25 s: long enough to be hit in the middle


@dataclass
class Drills:
    """A mill with a champion, and a twin in which nothing ever happens.

    Attributes:
        mill: What is broken.
        twin: Where the same trainings run by hand, undisturbed.
        seed: Of the data of the last drill.
    """

    mill: Mill
    twin: Mill
    seed: int = field(default=1)

    def begin(self) -> str:
        """Give the mill new data, press the Run button, and return the run in mid-training."""
        self.seed += 1
        before = self.mill.shown_in()
        self.mill.write(kimg=KIMG, seed=self.seed)
        run = self.mill.start()

        def under_way() -> bool:
            return bool(self.mill.trainings()) and self.mill.shown_in() - before != set()

        self.mill.until(under_way, "no training")
        self.mill.until(lambda: self.mill.shown() > 1000 * KIMG / 4, "no progress")
        return run

    def settle(self, name: str, run: str, *, reconciles: bool = True) -> None:
        """Wait until the model of the present data is champion, and say how it came to be.

        What a schedule does every ten minutes is done at once here: `ganmill reconcile`.
        """
        began = time.monotonic()
        wanted = self.undisturbed()
        deadline, rounds = began + 900, 0
        while self.champion() != wanted:
            assert time.monotonic() < deadline, f"{name}\n{self.mill.logs()}"
            if reconciles and self.mill.state(run) != "COMPLETED":
                self.mill.run("reconcile")
                rounds += 1
            time.sleep(2)
        self.mill.until(lambda: not self.mill.flows(), "a flow does not end")
        seconds = time.monotonic() - began
        all_runs = self.mill.runs("retrain")
        (asked,) = [each["expected_start_time"] for each in all_runs if each["id"] == run]
        later = [each for each in all_runs if each["expected_start_time"] > asked]
        others = [each for each in later if "resubmitted" in each["tags"]]
        again = f", submitted again as {others[-1]['name']}" if rounds and others else ""
        print(
            f"\ndrill: {name}: the run ended {self.mill.state(run)}{again}; champion after "
            f"{seconds:.0f} s, {rounds} rounds of reconciling; its bundle {wanted[:12]} is that of "
            "an undisturbed training"
        )
        self.whole()

    def undisturbed(self) -> str:
        """Return the digest of the bundle that the present data give when nothing happens."""
        self.twin.write(kimg=KIMG, seed=self.seed)
        dvc = Path(sys.executable).parent / "dvc"
        words = [str(dvc), "repro", "-q", "train@tiny"]
        subprocess.run(words, cwd=self.twin.layout.root, env=self.twin.environment, check=True)
        return open_bundle(self.twin.layout.bundle("tiny")).digest

    def champion(self) -> str:
        """Return the digest of the champion by the ledger."""
        entries = ledger.read(self.mill.layout.ledger)
        closing = [each for each in entries if each.event in {"done", "rollback"}]
        return str(closing[-1].to_digest)

    def whole(self) -> None:
        """Hold the mill against what must be so after every drill."""
        assert self.mill.left() == []
        assert self.mill.trainings() == []
        digests = [
            each.to_digest for each in ledger.read(self.mill.layout.ledger) if each.event == "done"
        ]
        assert len(digests) == len(set(digests))
        self.mill.must("ledger", "tiny")
        self.mill.must("verify", str(self.mill.layout.batches("tiny")))

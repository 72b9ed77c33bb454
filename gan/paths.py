"""Every folder and file name of the workspace. Nobody else joins strings.

params.yaml  dvc.yaml  dvc.lock      the user's, in git
models/<recipe>/start.json           the bundle that the next training starts from, in git
gan/shipped/<recipe>/                a bundle shipped with the code, in git
data/<recipe>/raw/                   ingest: shard-00000.tar ... and index.parquet
data/<recipe>/facts/                 validate: facts.parquet, verdict.json
data/<recipe>/train/                 prepare: images.npy, labels.npy, meta.json
data/<recipe>/kind.json              prepare: channels and resolution, all an extractor has to fit
models/<recipe>/extractor/           extractor: the metric's feature network
models/<recipe>/bundle/              train: generator, critic, card
models/<recipe>/history.json         train: what was measured on the way
models/<recipe>/detector/            what tells the recipe's synthetic images from real ones
models/<recipe>/source.json          what lies at an address or in a torchvision set, in git
data/<recipe>/checkouts/<digest>/    an earlier data version: raw, facts, train, kind.json
reports/<recipe>/data/               validate: the readable report (Data Docs)
reports/<recipe>/datasets/<digest>/  what is kept of a data version: manifest, sums, card
reports/<recipe>/drift/              how far new images are from the champion's
reports/<recipe>/evaluation/         evaluate: metrics.json and pictures
reports/<recipe>/compare/            pages of two models side by side
reports/<recipe>/calibration/        what can be told apart at the recipe's number of samples
reports/<recipe>/gate/<decision>/    a decision: gate.json, page, pictures, canary
reports/<recipe>/releases/v<n>/      of a version: card, metrics, evidence, lineage, parts
runs/<recipe>/                       checkpoints and stats.jsonl, outside DVC
assets/<recipe>/<batch>/             minted assets with their manifest
.ganmill/                            servers, databases, locks, logs, stores, the ledger
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The names below a workspace's root folder."""

    root: Path

    @property
    def params(self) -> Path:
        """The recipes."""
        return self.root / "params.yaml"

    @property
    def state(self) -> Path:
        """What the machine remembers and git does not: databases, locks, logs."""
        return self.root / ".ganmill"

    @property
    def bundle_store(self) -> Path:
        """Bundles by digest, fetched or trained here: `<digest>/generator.safetensors` ..."""
        return self.state / "bundles"

    @property
    def features(self) -> Path:
        """Features of real and generated images, by digest; nothing is lost with them but time."""
        return self.state / "features"

    @property
    def ledger(self) -> Path:
        """The append-only record of promotions."""
        return self.state / "ledger.jsonl"

    def extractor_store(self, name: str) -> Path:
        """A feature network that `ganmill extractor add` converted, for any recipe to pin."""
        return self.state / "extractors" / name

    def renewal(self, recipe: str) -> Path:
        """What a renewal of the extractor replaces, until the champion is measured again."""
        return self.state / "renewals" / f"{recipe}.json"

    @property
    def torchvision(self) -> Path:
        """Data sets that torchvision fetched, for any recipe."""
        return self.state / "torchvision"

    def lock(self, name: str) -> Path:
        """The lock file of one kind of work, say `train-stickers`."""
        return self.state / "locks" / f"{name}.lock"

    def failure(self, stage: str, recipe: str) -> Path:
        """The last error line of a failed stage, for the process that started it."""
        return self.state / "errors" / f"{stage}-{recipe}.json"

    def pin(self, recipe: str) -> Path:
        """The small file that says which bundle the next training starts from."""
        return self.root / "models" / recipe / "start.json"

    def source_listing(self, recipe: str) -> Path:
        """The small file that says which images of an address or a torchvision set are meant."""
        return self.root / "models" / recipe / "source.json"

    def shipped_bundle(self, recipe: str) -> Path:
        """The bundle that comes with the code, if there is one."""
        return self.root / "gan" / "shipped" / recipe

    def shipped_history(self, recipe: str) -> Path:
        """The training statistics of the shipped bundle, as `stats.jsonl`."""
        return self.root / "gan" / "shipped" / f"{recipe}.history.jsonl"

    def raw(self, recipe: str) -> Path:
        """Packed shards of the source images, and their index."""
        return self.root / "data" / recipe / "raw"

    def facts(self, recipe: str) -> Path:
        """The table of facts and the verdict of the data contract."""
        return self.root / "data" / recipe / "facts"

    def train_data(self, recipe: str) -> Path:
        """What training reads."""
        return self.root / "data" / recipe / "train"

    def kind(self, recipe: str) -> Path:
        """Which images the prepared ones are, whatever their number and classes."""
        return self.root / "data" / recipe / "kind.json"

    def checkout(self, recipe: str, digest: str) -> Path:
        """An earlier data version, brought back beside the present one."""
        return self.root / "data" / recipe / "checkouts" / digest[:12]

    def extractor(self, recipe: str) -> Path:
        """The feature network of the Frechet distance, pinned."""
        return self.root / "models" / recipe / "extractor"

    def bundle(self, recipe: str) -> Path:
        """The trained model: weights, card, digests."""
        return self.root / "models" / recipe / "bundle"

    def history(self, recipe: str) -> Path:
        """What was measured along the training of that bundle."""
        return self.root / "models" / recipe / "history.json"

    def data_report(self, recipe: str) -> Path:
        """The readable report of the data contract (Data Docs)."""
        return self.root / "reports" / recipe / "data"

    def datasets(self, recipe: str) -> Path:
        """Records of data versions, a folder each."""
        return self.root / "reports" / recipe / "datasets"

    def dataset(self, recipe: str, digest: str) -> Path:
        """The record of one data version, by its data digest."""
        return self.datasets(recipe) / digest[:12]

    def removals(self, recipe: str) -> Path:
        """Who had which image removed, when and why, a line each."""
        return self.datasets(recipe) / "removals.jsonl"

    def drift(self, recipe: str) -> Path:
        """How far the present images are from those that the champion was trained on."""
        return self.root / "reports" / recipe / "drift"

    def evaluation(self, recipe: str) -> Path:
        """Metrics and pictures of the trained model."""
        return self.root / "reports" / recipe / "evaluation"

    def version_report(self, recipe: str, digest: str) -> Path:
        """Metrics and pictures of another bundle than the trained one, measured on these data."""
        return self.root / "reports" / recipe / "versions" / digest[:12]

    def comparison(self, recipe: str) -> Path:
        """Pages of `ganmill compare`."""
        return self.root / "reports" / recipe / "compare"

    def calibration(self, recipe: str) -> Path:
        """What the chosen number of samples can tell apart."""
        return self.root / "reports" / recipe / "calibration"

    def gate(self, recipe: str) -> Path:
        """Evidence of gate decisions, a folder each with `gate.json`."""
        return self.root / "reports" / recipe / "gate"

    def release(self, recipe: str, number: int) -> Path:
        """What goes with a registered version, for whoever asks later."""
        return self.root / "reports" / recipe / "releases" / f"v{number}"

    def watch(self, recipe: str) -> Path:
        """How each batch of production fared, a line each."""
        return self.state / "watch" / f"{recipe}.jsonl"

    def drift_checks(self, recipe: str) -> Path:
        """How each comparison with the champion's images ended, a line each."""
        return self.state / "drift" / f"{recipe}.jsonl"

    @property
    def signing(self) -> Path:
        """The local certificate and key that assets are signed with where no other is set."""
        return self.state / "signing"

    def detector(self, recipe: str) -> Path:
        """What tells a recipe's synthetic images from real ones."""
        return self.root / "models" / recipe / "detector"

    @property
    def notices(self) -> Path:
        """What happened, a line each, for whoever reads files rather than pages."""
        return self.state / "notices.jsonl"

    @property
    def schedule_marks(self) -> Path:
        """Up to when the slots of each cron line were looked at, for those that lack a run."""
        return self.state / "schedules.json"

    def run(self, recipe: str) -> Path:
        """Checkpoints and statistics of the training in progress."""
        return self.root / "runs" / recipe

    def batches(self, recipe: str) -> Path:
        """Minted batches, a folder each."""
        return self.root / "assets" / recipe

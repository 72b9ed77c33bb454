"""What candidates are held against, by where it lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class References:
    """Picklable, for each process opens what it needs.

    Attributes:
        extractor: Folder of the recipe's own extractor; None, or one of another kind: then class
            and features are not looked at, and a note says so.
        training: Folder of prepared data, used if the bundle was trained on them.
        store: Where features and limits are kept: the folder of a `FeatureStore`.
        moderator: `package.module:function` of the user's, see `gan.screening.moderation`.
        workspace: What a relative `screens.moderation` is below.
    """

    extractor: Path | None
    training: Path | None
    store: Path
    moderator: str | None = None
    workspace: Path = Path()

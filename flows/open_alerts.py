"""The alerts that the monitor has open, as it writes them down for others."""

from dataclasses import dataclass
from datetime import UTC, datetime

from gan.durable import read_json
from gan.errors import DamagedError
from gan.paths import Layout


@dataclass(frozen=True)
class Alert:
    """What should have happened and did not.

    Attributes:
        recipe: It is about, "" of all.
        rule: Its kind.
        about: What of that kind it is about, say a pool or a file.
        since: When it was raised.
        says: A sentence for people.
        mend: What to do, a sentence with a command.
    """

    recipe: str
    rule: str
    about: str
    since: datetime
    says: str
    mend: str


def read_alerts(layout: Layout) -> list[Alert]:
    """Return the open alerts, none where no monitor ever wrote.

    Raises:
        DamagedError: The file is not what the monitor writes.
    """
    path = layout.state / "alerts.json"
    if not path.exists():
        return []
    try:
        return [
            Alert(
                recipe=str(each.get("recipe") or ""),
                rule=str(each["rule"]),
                about=str(each.get("about") or ""),
                since=datetime.fromisoformat(each["since"]).astimezone(UTC),
                says=str(each["says"]),
                mend=str(each["mend"]),
            )
            for each in read_json(path)["alerts"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path}: is not as the monitor writes it. Delete it.") from error

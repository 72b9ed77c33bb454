"""What Prefect's and MLflow's pages say of a run: whole, harmless, and small."""

import base64
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from flows.mlflow_texts import Places, experiment_text, model_text
from flows.run_pages import (
    batch_text,
    better_of,
    contract_text,
    gate_text,
    links_text,
    metric_rows,
    picture_text,
)

REPORT: dict[str, Any] = {
    "distance": "fd_domain",
    "kernel": "kd_domain",
    "metrics": {
        "recall": {"value": 0.5, "low": 0.45, "high": 0.55, "n": 10_000},
        "kd_domain": {"value": 0.0024, "low": 0.0019, "high": 0.0028, "n": 8000},
        "fd_domain": {"value": 0.338, "low": 0.3208, "high": 0.3553, "n": 8000},
        "diversity": {"value": 1.06, "n": 8000},
        "class_coverage_worst_class": {"value": 0.15, "n": 562, "class": "tools"},
    },
}
PLACES = Places("http://p/deployments/deployment/1", "http://m/#/models/a", "http://m/#/charts")


def _verdict(**changes: Any) -> dict[str, Any]:
    asked = [
        {"success": True, "says": "11,200 images are accepted.", "wanted": "at least 1,000"},
        {"success": False, "says": "3 | `of` <b>them</b> are broken.", "wanted": "none"},
    ]
    found = {"success": False, "accepted": 11_197, "images": 11_200, "expectations": asked}
    return {**found, "classes": {"cats": 1000, "dogs": 200}, **changes}


def test_the_contract_tells_failures_first() -> None:
    """What is wrong is what a reader looks for; every class is counted."""
    text = contract_text(_verdict(), Path("reports/a/data/index.html"))

    assert text.startswith("# The contract is not met\n\n11,197 of 11,200 images are accepted.")
    assert text.index("**failed**") < text.index("| ok |")
    assert "| cats | 1,000 |" in text
    assert "`reports/a/data/index.html`" in text


def test_nobodys_words_become_markup() -> None:
    """A pipe, a tag or a backtick in a name is shown as it is and breaks no table."""
    text = contract_text(_verdict(), Path("p"))

    assert r"3 \| \`of\` &lt;b&gt;them&lt;/b&gt; are broken." in text
    bad = [
        ("model", "`[a](javascript:x) v2", "javascript:x"),
        ("run", "x", "http://a b"),
    ]
    text = links_text(bad)
    assert r"\`\[a\](javascript:x) v2" in text  # words, and no link
    assert "http" not in text


def test_metrics_have_intervals_and_say_what_is_better() -> None:
    """The distance that decides comes first; each has its N, its interval if it has one, a word."""
    first, second, *rest = metric_rows(REPORT)

    assert first == {
        "metric": "fd_domain",
        "value": "0.338",
        "95 % interval": "0.3208 to 0.3553",
        "N": "8,000",
        "better": "less",
        "what it says": "Frechet distance of generated to real images, in the extractor's features",
    }
    assert second["metric"] == "kd_domain"
    by_name = {row["metric"]: row for row in rest}
    assert by_name["diversity"]["95 % interval"] == ""
    assert by_name["class_coverage_worst_class"]["what it says"].endswith("the least (tools)")
    assert better_of(REPORT)["recall"] == "more"


def test_the_gate_shows_each_check_and_where_its_page_is() -> None:
    """A person sees what was looked at, what it said, and goes on from there."""
    document = {
        "evidence": {"recipe": "a", "candidate_digest": "c" * 64, "champion_digest": None},
        "verdict": {"outcome": "fail", "reasons": ["pass: it loads.", "fail: it is worse."]},
    }

    text = gate_text(document, "v3", [("page", "in MLflow", "http://m/#/a?b=c")])

    assert text.startswith("# a v3: fail")
    assert "with no champion yet" in text
    assert "| pass | it loads. |" in text
    assert "| **fail** | it is worse. |" in text
    assert "[in MLflow](http://m/#/a?b=c)" in text


def test_a_batch_is_counted_by_verdict_and_class() -> None:
    """What became of every candidate, what was accepted of which class, and its sheet."""
    card = SimpleNamespace(
        accepted=60, wanted=64, batch="2027-03-01-ab", campaign="chat", slot="s", seed=1,
        candidates=80, verdicts={"accepted": 60, "broken": 20}, classes={"cats": 40, "dogs": 20},
        segments={}, notes=["no held-out images: copies were not looked for"],
    )  # fmt: skip

    text = batch_text(cast("Any", card), Path("assets/a/b"), [], "![sheet](data:x)")

    assert text.startswith("# 60 of 64 wanted assets")
    assert "| broken | 20 | 25.0% |" in text
    assert "| cats | 40 | 66.7% |" in text
    assert "- no held-out images: copies were not looked for" in text
    assert text.endswith("![sheet](data:x)")


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (1600, 900)), ("RGBA", (40, 4000)), ("L", (8, 8))]
)
def test_a_picture_travels_inside_and_is_small(
    tmp_path: Path, mode: str, size: tuple[int, int]
) -> None:
    """It shows wherever MLflow is, and does not fill Prefect's database; without one is nothing."""
    path = tmp_path / "grid.png"
    assert picture_text(path, "a grid") == ""
    Image.effect_noise(size, 90).convert(mode).save(path)

    text = picture_text(path, "a ] grid")

    found = re.fullmatch(r"!\[a \\\] grid\]\(data:image/webp;base64,([\w+/=]+)\)", text)
    assert found is not None
    assert len(base64.b64decode(found[1])) <= 400_000  # of noise, which nothing makes small
    assert len(text) < 600_000


def test_mlflows_pages_lead_on() -> None:
    """Which metric decides, what each says, where trainings are started, what may not be moved."""
    experiment = experiment_text("a", PLACES, "fd_domain", better_of(REPORT))
    model = model_text("a", PLACES)

    assert "`evaluation/fd_domain` decides, less is better" in experiment
    assert "| `recall` | more | share of real images that the model could have made |" in experiment
    assert f"[retrain/a in Prefect]({PLACES.deployment})" in experiment
    assert f"[registered model]({PLACES.model})" in experiment
    assert "the distance under `evaluation/` decides" in experiment_text("a", PLACES)
    assert "ganmill rollback a" in model
    for text in (experiment, model):  # MLflow shows a broken line as two
        assert not re.search(r"\n +\S", text)

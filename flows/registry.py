"""What came out, part two: versions and aliases in MLflow's model registry.

A bundle is registered as plain files that `gan.serving` reads, so that whoever has MLflow and our
package can load it; its digest is its identity, so one digest is one version, however often
registering is retried. Aliases are read by name only: MLflow's searches leave them out.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows import _pyfunc
from flows._mlflow import VIEW, TrackedRun, connected, pages
from flows.settings import Settings
from gan.durable import verify_sums
from gan.errors import DamagedError, ServiceError, UsageError

BUNDLE_DIGEST = "bundle_digest"
_PAGE = 1000


@dataclass(frozen=True)
class Version:
    """One registered bundle; `digest` is the SHA-256 of its `SHA256SUMS`."""

    recipe: str
    number: int
    digest: str
    run_id: str
    url: str
    tags: Mapping[str, str]


def register(
    settings: Settings, recipe: str, bundle: Path, run: TrackedRun, tags: Mapping[str, str]
) -> Version:
    """Register a bundle once: a retry finds the version that the first try made.

    Args:
        settings: Where MLflow is.
        recipe: The name of the registered model.
        bundle: A folder with `SHA256SUMS`.
        run: The training that made it; its artifacts hold the files.
        tags: Kept with the version, say data_version, git_revision, flow_run_url.

    Raises:
        DamagedError: The bundle's files differ from its `SHA256SUMS`.
        ServiceError: MLflow does not answer; the same call again completes.
    """
    digest = verify_sums(bundle)
    url = settings.mlflow_url
    with connected(url, f"registering {recipe} {digest[:12]}") as client:
        if found := _of_digest(client, url, recipe, digest):
            return found
        _ensure_model(client, recipe)
        with TemporaryDirectory(prefix="ganmill-model-") as room:
            model = _pyfunc.save(bundle, digest, Path(room))
            client.log_artifacts(run.run_id, str(model), _pyfunc.MODEL)
        client.create_model_version(
            name=recipe,
            # Not `runs:/...`: of that the server cannot show the signature on the version's page.
            source=f"{_artifacts(client, run.run_id)}/{_pyfunc.MODEL}",
            run_id=run.run_id,
            tags={BUNDLE_DIGEST: digest, "mlflow_run_url": run.url, **tags},
            description=_description(digest, run, tags),
            await_creation_for=0,  # there are no stores here that copy the files first
        )
        made = _of_digest(client, url, recipe, digest)
    if made is None:
        raise ServiceError(
            f"MLflow at {url}: {recipe} {digest[:12]} was registered and is gone again. "
            "Run the same again."
        )
    return made


def by_alias(settings: Settings, recipe: str, alias: str) -> Version | None:
    """Return the version that an alias points to, None when there is no such alias or model.

    Raises:
        ServiceError: Anything else went wrong: not knowing is not the same as there being none.
    """
    from mlflow.exceptions import MlflowException

    url = settings.mlflow_url
    with connected(url, f"reading {recipe}@{alias}") as client:
        try:
            return _version(url, client.get_model_version_by_alias(recipe, alias))
        except MlflowException as error:
            # MLflow calls a missing alias an invalid parameter; only its words tell it apart.
            no_alias = error.error_code == "INVALID_PARAMETER_VALUE" and (
                f"alias {alias} not found" in str(error)
            )
            if no_alias or error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def by_number(settings: Settings, recipe: str, number: int) -> Version:
    """Return a version by its number.

    Raises:
        UsageError: There is none; the message names those that are there.
    """
    known = {version.number: version for version in versions(settings, recipe)}
    if number not in known:
        there = ", ".join(f"v{each}" for each in sorted(known)) or "none"
        raise UsageError(f"{recipe} has no version v{number}. There: {there}.")
    return known[number]


def versions(settings: Settings, recipe: str) -> list[Version]:
    """Return every version of a recipe, newest first; an unknown recipe has none."""
    url = settings.mlflow_url
    with connected(url, f"listing the versions of {recipe}") as client:
        return sorted(_search(client, url, f"name = '{recipe}'"), key=lambda v: -v.number)


def set_alias(settings: Settings, recipe: str, alias: str, number: int) -> None:
    """Point an alias to a version; `release.promote` alone does this to `champion`."""
    with connected(settings.mlflow_url, f"setting {recipe}@{alias} to v{number}") as client:
        client.set_registered_model_alias(recipe, alias, str(number))


def drop_alias(settings: Settings, recipe: str, alias: str, number: int) -> None:
    """Take an alias from a version, if it points there."""
    found = by_alias(settings, recipe, alias)
    if found is not None and found.number == number:
        with connected(settings.mlflow_url, f"dropping {recipe}@{alias}") as client:
            client.delete_registered_model_alias(recipe, alias)


def tag_version(settings: Settings, version: Version, tags: Mapping[str, str]) -> None:
    """Set tags of a version, say the ids of the batches that were minted from it."""
    with connected(settings.mlflow_url, f"tagging {version.recipe} v{version.number}") as client:
        for key, value in tags.items():
            client.set_model_version_tag(version.recipe, str(version.number), key, value)


def describe_model(settings: Settings, recipe: str, markdown: str) -> None:
    """Set what a model's page says, unless a person began it with another first line."""
    with connected(settings.mlflow_url, f"describing the model {recipe}") as client:
        _ensure_model(client, recipe)
        present = client.get_registered_model(recipe).description or ""
        if present != markdown and present.startswith(markdown.partition("\n")[0]):
            client.update_registered_model(recipe, markdown)


def comparison_url(settings: Settings, recipe: str) -> str:
    """Return the page that shows the charts and pictures of all trainings of a recipe."""
    url = settings.mlflow_url
    with connected(url, f"finding the trainings of {recipe}") as client:
        found = client.get_experiment_by_name(recipe)
    if found is None:
        return f"{pages(url)}/#/experiments"
    return f"{pages(url)}/#/experiments/{found.experiment_id}/runs{VIEW}&compareRunsMode=CHART"


def fetch(settings: Settings, version: Version, store: Path) -> Path:
    """Return `store/<digest>/`, downloaded if need be and checked against the version's digest.

    Raises:
        DamagedError: The registry's files are not those that were registered, or lie elsewhere than
            `register` puts them; none is kept.
        ServiceError: MLflow does not answer.
    """
    wanted = store / version.digest
    if wanted.exists():
        _check(wanted, version)
        return wanted
    partial = store / f".{version.digest}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with connected(
            settings.mlflow_url, f"fetching {version.recipe} v{version.number}"
        ) as client:
            _download(client, settings.mlflow_url, version, partial)
        _check(partial, version)
        if not wanted.exists():
            partial.replace(wanted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return wanted


def _download(client: Any, url: str, version: Version, folder: Path) -> None:
    """Download a version's bundle, file after file: the first that does not come ends it."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    # Not `runs:/...`: there MLflow takes a server that is away for a file that is missing.
    place = f"{_artifacts(client, version.run_id)}/{_pyfunc.MODEL}/{_pyfunc.BUNDLE}"
    names = [Path(each.path).name for each in list_artifacts(place, tracking_uri=url)]
    if not names:
        raise DamagedError(
            f"{version.recipe} v{version.number}: its run in MLflow has no "
            f"{_pyfunc.MODEL}/{_pyfunc.BUNDLE}: an earlier ganmill registered it, or somebody "
            "deleted it. Roll back or retrain."
        )
    for name in names:
        download_artifacts(f"{place}/{name}", dst_path=str(folder), tracking_uri=url)


def _artifacts(client: Any, run_id: str) -> str:
    """Return where the server keeps a run's artifacts."""
    return str(client.get_run(run_id).info.artifact_uri)


def _check(folder: Path, version: Version) -> None:
    found = verify_sums(folder)
    if found != version.digest:
        raise DamagedError(
            f"{version.recipe} v{version.number}: the files have digest {found[:12]}..., but "
            f"{version.digest[:12]}... was registered. Refusing them; roll back or retrain."
        )


def _ensure_model(client: Any, recipe: str) -> None:  # MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            recipe, description=f"Bundles of the recipe `{recipe}`; production reads `@champion`."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _delete_twin(client: Any, recipe: str, number: int) -> None:
    """Delete a second version of a bundle, unless an alias points to it."""
    from mlflow.exceptions import MlflowException

    try:
        if not client.get_model_version(recipe, str(number)).aliases:
            client.delete_model_version(recipe, str(number))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # somebody else was quicker
            raise


def _description(digest: str, run: TrackedRun, tags: Mapping[str, str]) -> str:
    facts = [tags["distance"]] if "distance" in tags else []
    facts += [f"bundle `{digest[:12]}`", f"[training run]({run.url})"]
    if flow := tags.get("flow_run_url"):
        facts.append(f"[flow run]({flow})")
    if data := tags.get("data_version"):
        facts.append(f"data `{data}`")
    if revision := tags.get("git_revision"):
        facts.append(f"code `{revision[:12]}`")
    return " | ".join(facts)


def _of_digest(client: Any, url: str, recipe: str, digest: str) -> Version | None:
    """Return the version of a digest, the first if there are several; the others are deleted.

    Two that register at once make two, and so does a request that a server comes back to after its
    sender gave it up. Nobody was told of the later ones, so nobody serves them.
    """
    same = f"name = '{recipe}' and tags.{BUNDLE_DIGEST} = '{digest}'"
    found = sorted(_search(client, url, same), key=lambda version: version.number)
    for twin in found[1:]:
        _delete_twin(client, recipe, twin.number)
    return found[0] if found else None


def _search(client: Any, url: str, rule: str) -> list[Version]:
    found: list[Version] = []
    token = None
    while True:
        page = client.search_model_versions(rule, max_results=_PAGE, page_token=token)
        found += [_version(url, one) for one in page]
        token = page.token
        if not token:
            return found


def _version(url: str, found: Any) -> Version:  # MLflow's ModelVersion
    number, tags = int(found.version), dict(found.tags)
    page = f"{pages(url)}/#/models/{found.name}/versions/{number}{VIEW}"
    return Version(found.name, number, tags.get(BUNDLE_DIGEST, ""), found.run_id, page, tags)

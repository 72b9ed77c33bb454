"""What a model was made with: the installed packages that ours needs, their licences, as CycloneDX.

Read from the packages' own metadata; what a package does not say stays unsaid. Nothing here holds a
time or a random number, so the same model in the same environment is the same bytes.
"""

import hashlib
import json
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

_ROOT = "ganmill"
_SPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562: names that are addresses
_NAME_AT_MOST = 80  # characters: some packages put the whole text of their licence there


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: As its metadata spells it.
        version: Installed.
        licence: An SPDX expression or a name; None where its metadata name none.
        is_expression: Whether `licence` is an SPDX expression.
        needs: Normalised names of the installed packages that it asks for.
    """

    name: str
    version: str
    licence: str | None
    is_expression: bool
    needs: Sequence[str]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{_normal(self.name)}@{quote(self.version, safe='')}"


@dataclass(frozen=True)
class Subject:
    """The model that the bill is about.

    Attributes:
        name: Of its recipe.
        version: Its number in the registry.
        digest: Of its bundle: the SHA-256 of its `SHA256SUMS`.
        files: SHA-256 of each of its files by name; empty where the bundle is not at hand.
    """

    name: str
    version: int
    digest: str
    files: Mapping[str, str]


@cache
def installed() -> dict[str, Package]:
    """Return what this project needs to run and what that needs, by normalised name.

    Markers and extras are minded, so a package for another system is not among them; a requirement
    that is not installed here is left out.

    Raises:
        PackageNotFoundError: The project itself is neither installed nor a checkout.
    """
    wanted = list(_asked(_own_requirements(), ""))
    seen: set[tuple[str, str]] = set()
    found: dict[str, Distribution] = {}
    needs: dict[str, set[str]] = {}
    while wanted:
        name, extras = wanted.pop()
        if name not in found:
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                continue
            needs[name] = set()
        for extra in {"", *extras} - {known for each, known in seen if each == name}:
            seen.add((name, extra))
            asked = list(_asked(found[name].requires or [], extra))
            needs[name] |= {each for each, _ in asked}
            wanted += asked
    return {
        name: _package(each, sorted(needs[name] & set(found) - {name}))
        for name, each in sorted(found.items())
    }


def roots(packages: Mapping[str, Package]) -> list[str]:
    """Return those of the packages that the project itself asks for."""
    return sorted({name for name, _ in _asked(_own_requirements(), "")} & set(packages))


def licences(packages: Mapping[str, Package]) -> dict[str, dict[str, str | None]]:
    """Return version and licence of each package by its name."""
    return {
        each.name: {"version": each.version, "licence": each.licence} for each in packages.values()
    }


def bill(subject: Subject, packages: Mapping[str, Package]) -> dict[str, Any]:
    """Return the bill of materials as a CycloneDX 1.6 document.

    Its serial number is a function of the rest, so equal contents have equal numbers.
    """
    model = _model(subject)
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [_component(each) for each in packages.values()],
        "dependencies": [
            {
                "ref": model["bom-ref"],
                "dependsOn": [packages[name].purl for name in roots(packages)],
            },
            *(
                {"ref": each.purl, "dependsOn": [packages[name].purl for name in each.needs]}
                for each in packages.values()
            ),
        ],
    }
    content = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, content)}", **document}


def _model(subject: Subject) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{subject.name}@{subject.digest}",
        "name": subject.name,
        "version": f"v{subject.version}",
        "description": "A bundle; its hash is that of its file SHA256SUMS, which lists the others.",
        "hashes": _hashes(subject.digest),
    }
    files = [
        {"type": "file", "name": name, "hashes": _hashes(digest)}
        for name, digest in sorted(subject.files.items())
    ]
    return {**found, "components": files} if files else found


def _component(package: Package) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.licence is None:
        return found
    spelt = {"expression": package.licence}
    return {**found, "licenses": [spelt if package.is_expression else {"license": _named(package)}]}


def _named(package: Package) -> dict[str, str | None]:
    return {"name": package.licence}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _own_requirements() -> list[str]:
    """Return what the project asks for: by the checkout's own file, else by its metadata.

    The metadata of a checkout are as old as the last time it was installed.
    """
    checkout = Path(__file__).parents[2] / "pyproject.toml"
    if checkout.is_file():
        asked: list[str] = tomllib.loads(checkout.read_text())["project"]["dependencies"]
        return asked
    return distribution(_ROOT).requires or []


def _asked(requirements: Sequence[str], extra: str) -> Iterable[tuple[str, list[str]]]:
    """Yield (normalised name, extras) of what is asked for here, with one extra of the asker."""
    from packaging.requirements import Requirement

    for line in requirements:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield _normal(asked.name), sorted(asked.extras)


def _package(found: Distribution, needs: list[str]) -> Package:
    licence, is_expression = _licence(found)
    name, version = found.metadata["Name"], found.version
    return Package(name, version, licence, is_expression, needs)


def _licence(found: Distribution) -> tuple[str | None, bool]:
    """Return a package's licence, and whether it is an SPDX expression."""
    said = found.metadata
    if "License-Expression" in said:
        return said["License-Expression"].strip(), True
    marks = [each for each in said.get_all("Classifier") or () if each.startswith("License ::")]
    names = [each.rsplit(" :: ", 1)[1] for each in marks if each.count(" :: ") > 1]
    if names:
        return " or ".join(sorted(names)), False
    lines = said["License"].strip().splitlines() if "License" in said else []
    if not lines or lines[0].strip().upper() in {"", "UNKNOWN"}:
        return None, False
    return lines[0].strip()[:_NAME_AT_MOST], False


def _normal(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))

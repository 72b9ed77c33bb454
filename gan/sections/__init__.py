"""The sections of a recipe: frozen, strict, defaults that were measured. No file is read here."""

from gan.sections.base import ImageSize, Reason, Resolution, Section, Sha256, Share
from gan.sections.data import ContractSpec, DataSpec, DriftSpec, GlyphsSpec
from gan.sections.gate import GateSpec, WatchSpec
from gan.sections.production import AssetsSpec, ScheduleSpec
from gan.sections.training import (
    EXTRACTORS,
    NETWORK_DEFAULTS,
    BudgetSpec,
    EvaluateSpec,
    ModelSpec,
    TrainSpec,
)

__all__ = [
    "EXTRACTORS",
    "NETWORK_DEFAULTS",
    "AssetsSpec",
    "BudgetSpec",
    "ContractSpec",
    "DataSpec",
    "DriftSpec",
    "EvaluateSpec",
    "GateSpec",
    "GlyphsSpec",
    "ImageSize",
    "ModelSpec",
    "Reason",
    "Resolution",
    "ScheduleSpec",
    "Section",
    "Sha256",
    "Share",
    "TrainSpec",
    "WatchSpec",
]

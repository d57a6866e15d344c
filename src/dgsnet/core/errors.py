"""Typed errors. Each message says what was wrong, with which file, and what to do about it."""

from __future__ import annotations


class DgsnetError(Exception):
    """Base of every error dgsnet raises on purpose; the command line prints it in one line and exits with 2."""


class DecodeError(DgsnetError):
    """An image could not be decoded. Costs one row, never the run."""


class FormatError(DecodeError):
    """The bytes are of no format that is read here."""


class SizeError(DecodeError):
    """The image has more bytes or pixels than the policy allows."""


class DatasetError(DgsnetError):
    """A folder, manifest or shard does not hold what a data set needs."""


class ShardError(DatasetError):
    """A shard is compressed, damaged or cannot be read. Costs what cannot be reached in it, never the run."""


class WeightsError(DgsnetError):
    """Backbone weights are missing, damaged or not the ones asked for."""


class UnreachableError(WeightsError):
    """The source of weights cannot be reached from here; another machine may do better."""


class MarksError(DgsnetError):
    """A table of marks cannot be read, or an entry of it is wrong."""


class RecipeError(DgsnetError):
    """A setting is unknown, out of range, or contradicts another."""


class ModelFolderError(DgsnetError):
    """A model folder is missing a file, damaged, or was trained on another backbone."""


class TrainingError(DgsnetError):
    """Training cannot go on: nothing to train on, a checkpoint of another run, a loss that is not finite."""


class CalibrationError(DgsnetError):
    """A model cannot be calibrated on this data: it ranks in reverse, a class is missing, or the predictions are another model's."""


class ScoringError(DgsnetError):
    """A scoring run cannot go on: its folder is of another model or other data, another process writes to it, or an engine is missing."""


class TrustError(DgsnetError):
    """A file of trust anchors cannot be read, or holds no certificate."""


class MissingPackageError(DgsnetError):
    """This needs a package that an extra of dgsnet brings (`dgsnet.core.extras`)."""


class MissingDecoderError(FormatError, MissingPackageError):
    """A picture is of a format whose reader an extra of dgsnet brings. Costs one row, as all errors of decoding."""


def reason_of(error: Exception) -> str:
    """Return an error in one line: its text, behind its class where it is none of ours."""
    return first_line(error) if isinstance(error, DgsnetError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its class where it has none; without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")

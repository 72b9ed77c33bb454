"""Every error a user can mend, and the exit code it ends the command with.

    GanmillError             1   the machine: a file, a server, a full disk
    |-- UsageError           2   what was given: command line, setting, port
    |   |-- RecipeError      2   params.yaml
    |   `-- SourceError      2   the images a recipe points to
    |-- DamagedError         1   bytes differ from the digest that we keep
    |-- BusyError            1   another process holds the lock
    |-- ServiceError         1   Prefect, MLflow or DVC did not answer
    |-- PeerError            1   another process of the same training is gone
    |-- DivergedError        1   training produced a value that is not finite
    |-- ContractError        3   the data contract failed
    |-- GateError            4   the model gate said fail or unknown
    |-- ApprovalError        5   a promotion was refused by a person or by stale evidence
    |-- BudgetError          6   a budget (time, images) ended before the work did
    `-- PreemptedError      75   stopped on request; the same command resumes

Messages are one line: what is wrong, where, what was found, what was wanted, and the next command.
"""


class GanmillError(Exception):
    """An error that a user can mend; its message is shown alone, without a traceback."""

    exit_code = 1


class UsageError(GanmillError):
    """The command line, a setting or a port is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """`params.yaml` holds something impossible, or lacks what was asked for."""


class SourceError(UsageError):
    """The images that a recipe points to are missing, too few, or unreadable."""


class DamagedError(GanmillError):
    """A file's bytes differ from the SHA-256 that we keep of it."""


class BusyError(GanmillError):
    """Another process is doing the same work right now."""


class ServiceError(GanmillError):
    """A server or a store (Prefect, MLflow, DVC) did not answer as it must."""


class PeerError(GanmillError):
    """Another process of the same training is gone, or does not answer."""


class DivergedError(GanmillError):
    """Training produced a loss or a weight that is not finite."""


class ContractError(GanmillError):
    """The data contract failed: the images are not fit to train on."""

    exit_code = 3


class GateError(GanmillError):
    """The model gate said `fail` or `unknown`; nothing was promoted."""

    exit_code = 4


class ApprovalError(GanmillError):
    """A promotion was refused by a person, or its evidence is stale."""

    exit_code = 5


class BudgetError(GanmillError):
    """A budget ended before the work did."""

    exit_code = 6


class PreemptedError(GanmillError):
    """Stopped on request after saving; the same command resumes."""

    exit_code = 75

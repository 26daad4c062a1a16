"""The two ways a command ends badly, each one clear line on stderr and its exit code."""


class UserError(Exception):
    """The user's input is at fault: exit code 2, nothing written."""

    exit_code = 2


class RunError(Exception):
    """The run diverged or an input/output operation failed: exit code 1."""

    exit_code = 1


class Diverged(RunError):
    """A loss of the run was not finite."""

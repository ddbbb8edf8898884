"""The driver: starts the parts of a run, watches them and reports.

It is in no sample's path: stopped, samples and steps go on.
"""


class RunFailed(Exception):
    """The run ended before its last step; the message is one sentence that names the part and the reason
    (exit code 1).
    """

    def __init__(self, message: str, resumable: bool = True) -> None:
        """`resumable`: whether `--resume` may go on with it, as far as the reason is concerned."""
        super().__init__(message)
        self.resumable = resumable

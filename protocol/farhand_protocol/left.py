"""The processes that a run has left behind when its program had ended on its own."""

from typing import Annotated, Final

from pydantic import BaseModel, Field

from .model import Count, Message, PositiveCount

MAX_PROCESS_NAME: Final = 15
"""Characters of a process's name: Linux keeps 15 bytes (TASK_COMM_LEN)."""

MAX_PROCESS_NAMES: Final = 8
"""Names of left processes in one message: as many as fit on a line."""

MAX_PROCESS_PIDS: Final = 32
"""Pids of left processes in one message: more than anyone handles one by one."""


class LeftProcesses(BaseModel):
    """Processes of a run that were alive when its program had ended on its own and its linger time was over.

    `count` is their number, or with `at_least` a lower bound. `names` are some of their different names
    (proc_pid_comm(5)), undecodable bytes replaced. With `stopped` the service has killed them, or the hang-up of their
    terminal has ended them just before that time. Without it they continue to run and belong to nobody, and
    `pids` are some of those that are still alive.
    """

    model_config = Message.model_config
    count: Count
    at_least: bool = False
    names: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_PROCESS_NAME)], ...], Field(max_length=MAX_PROCESS_NAMES)
    ] = ()
    pids: Annotated[tuple[PositiveCount, ...], Field(max_length=MAX_PROCESS_PIDS)] = ()
    stopped: bool = False

    @property
    def number(self) -> str:
        """How many they are, for people: `2` or `at least 2`."""
        return f"{'at least ' if self.at_least else ''}{self.count}"

    @property
    def counted(self) -> str:
        """The same with its noun: `1 process`, `at least 2 processes`."""
        return f"{self.number} process{'' if self.count == 1 else 'es'}"

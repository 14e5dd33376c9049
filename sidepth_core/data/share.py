"""One task's share of many recordings: the tasks of a Slurm array divide them without talking to each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sidepth_core.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """Which of many recordings one of several tasks works on: every count-th, from the number-th on.

    Attributes:
        number: Of the task, from 1.
        count: How many tasks there are.

    Raises:
        ConfigError: If there is no such task.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        """Refuse a task that there is not."""
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f'shard {self} is none: expected I/N with I in 1..N, such as 3/8 (sbatch --array=1-8 counts so)'
            )

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f'{self.number}/{self.count}'

    @classmethod
    def parse(cls, text: str) -> Share:
        """Return the share that a text such as '3/8' names.

        Raises:
            ConfigError: If it names none.
        """
        found = re.fullmatch(r'(\d+)/(\d+)', text)
        if found is None:
            raise ConfigError(f'shard {text!r} is none: expected I/N with I in 1..N, such as 3/8')
        return cls(int(found[1]), int(found[2]))

    def of(self, total: int) -> range:
        """Return the places, from 0, of this share among so many recordings; all shares together have each once."""
        return range(self.number - 1, total, self.count)

"""What a node does about an engine that fails and a worker that dies or hangs: what it tries next, what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from sidepth_ros.node.parameters import Settings

STEADY_S = 60.0
"""An engine that fails again so soon after it was built anew is not tried a third time."""


class Condition(NamedTuple):
    """How the recovery stands, as diagnostics tell it.

    Attributes:
        note: What happened and what runs instead; empty where all is as it was asked for.
        recoveries: How many there were.
        is_underway: Whether an engine is being built in place of one that failed.
    """

    note: str = ''
    recoveries: int = 0
    is_underway: bool = False


class Recovery:
    """Decides what is loaded after a failure.

    First the same again. If that fails within STEADY_S: the plain network in float32 on the same device, then on the
    CPU. If nothing is left, the node has to give up.

    Args:
        now: A steady clock, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rung = 0
        self._count = 0
        self._last_s = -float('inf')
        self._reason = ''
        self._is_underway = False

    @property
    def is_underway(self) -> bool:
        """Whether what `begin` returned is being loaded."""
        return self._is_underway

    @property
    def is_at_rest(self) -> bool:
        """Whether what was asked for runs, and has not failed lately."""
        return not (self._is_underway or self._rung or self._is_recent)

    @property
    def _is_recent(self) -> bool:
        return self._now() - self._last_s < STEADY_S

    def begin(self, reason: str, asked: Settings, device_type: str) -> Settings | None:
        """Return what to load now; None where everything was tried.

        Args:
            reason: What failed.
            asked: What the user wants to run.
            device_type: Where that runs, as torch.device.type.
        """
        if self._is_recent:
            self._rung += 1
        self._reason, self._last_s = reason, self._now()
        rungs = ladder(asked, device_type)
        self._is_underway = self._rung < len(rungs)
        self._count += self._is_underway
        return rungs[self._rung] if self._is_underway else None

    def succeeded(self) -> None:
        """Note that what `begin` returned runs."""
        self._is_underway, self._last_s = False, self._now()

    def reset(self) -> None:
        """Begin at the top again: the user asked for a model."""
        self._rung, self._last_s, self._reason, self._is_underway = 0, -float('inf'), '', False

    def condition(self) -> Condition:
        """Return how it stands."""
        if self._is_underway:
            return Condition(f'the engine is being built anew: {self._reason}', self._count, is_underway=True)
        note = ''
        if self._rung:
            note = (
                f'not the engine that was asked for, which failed twice within {STEADY_S:.0f} s: {self._reason}; '
                'set the parameter engine to try again'
            )
        elif self._is_recent:
            note = f'the engine was built anew: {self._reason}'
        return Condition(note, self._count)


def ladder(asked: Settings, device_type: str) -> list[Settings]:
    """Return what can be loaded after a failure, best first; each runs the same weights."""
    plain = asked.changed({'engine': 'eager', 'precision': 'float32'})
    rungs = [asked] if plain == asked else [asked, plain]
    return rungs if device_type == 'cpu' else [*rungs, plain.changed({'device': 'cpu'})]

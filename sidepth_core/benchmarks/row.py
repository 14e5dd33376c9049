"""What a benchmark is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch


class Request(NamedTuple):
    """What the user asked for.

    Attributes:
        device: Where networks run.
        quick: Measure the smallest case of each benchmark only.
        checkpoint: Whose network is measured; None for the one of the package.
        compiled: Include what torch.compile makes, which takes minutes to make on a CPU.
        threads: CPU threads that were asked for; 0 where nobody did, which lets a benchmark choose.
    """

    device: torch.device
    quick: bool = False
    checkpoint: str | None = None
    compiled: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        what: What was measured.
        value: The figure.
        unit: Its unit.
        against: What it is compared with; empty for nothing.
        ratio: The figure divided by that of the other.
        wanted: What the ratio should be, in words; empty where nothing is promised.
        met: Whether it is; None where nothing is promised.
        note: How it was measured, or what to know.
        figures: What else was measured with it, by name and unit.
    """

    what: str
    value: float
    unit: str
    against: str = ''
    ratio: float | None = None
    wanted: str = ''
    met: bool | None = None
    note: str = ''
    figures: Mapping[str, float] = field(default_factory=dict)

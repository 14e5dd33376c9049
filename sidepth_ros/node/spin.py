"""The executor's loop: a callback that fails costs what it was called for, not the node."""

from __future__ import annotations

import time
from collections import deque
from traceback import format_exc

from rclpy.executors import Executor, ExternalShutdownException
from rclpy.impl.rcutils_logger import RcutilsLogger

MAX_FAILURES = 10
"""So many failures within FAILURES_WITHIN_S end the loop: a fault of every message is not to be worked around."""
FAILURES_WITHIN_S = 1.0
LOG_EVERY_S = 5.0
ENDING_S = 0.03
"""A signal takes away what callbacks use a moment before the context says that it has ended."""


def spin(executor: Executor, logger: RcutilsLogger) -> None:
    """Run callbacks until the context ends; write the failures of single ones to the log.

    Raises:
        Exception: What the last callback raised, when MAX_FAILURES failed within FAILURES_WITHIN_S.
    """
    failures: deque[float] = deque(maxlen=MAX_FAILURES)
    while executor.context.ok():
        try:
            executor.spin()
        except ExternalShutdownException:  # noqa: PERF203 - rclpy's loop is inside
            return
        except Exception:
            failures.append(time.monotonic())
            time.sleep(ENDING_S)
            is_often = len(failures) == MAX_FAILURES and failures[-1] - failures[0] < FAILURES_WITHIN_S
            if is_often or not executor.context.ok():
                raise
            logger.error(f'a callback failed: {format_exc()}', throttle_duration_sec=LOG_EVERY_S)  # noqa: TRY400 - not logging's

"""What diagnostics say of a measured scale."""

from __future__ import annotations

from collections.abc import Sequence

from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.stream import ScaleStatus
from sidepth_ros.node.watchdog import Finding, Level

WHAT_TO_DO = {
    'camera_height': 'set camera_height, or let TF lead from ground_frame to the frame of the images',
    'odometry': 'remap odometry, set odometry_type, and drive: standing gives no scale',
    'range': 'remap range, set range_type, and let TF or transforms lead to the sensor',
    'auto': 'set camera_height, or remap odometry or range',
}


def scale_findings(known: ScaleStatus | None, silent: Sequence[str], settings: Settings) -> list[Finding]:
    """Return what is wrong with a measured scale, worst first.

    Args:
        known: After the newest image; None before any.
        silent: Topics of the sources that brought nothing.
        settings: The node's.
    """
    quiet = f'; nothing has come on {", ".join(silent)}' if silent else ''
    if known is None:
        return []
    if not known.scale.metric:
        last = [f'{report.name}: {_short(report.name, report.last.reason)}: {report.last.detail}'.rstrip(': ')
                for report in known.reports if report.last is not None]  # fmt: skip
        why = f' ({"; ".join(last)})' if last else ''
        advice = WHAT_TO_DO[settings.scale_source]
        return [Finding(Level.WARN, f'the scale is not known yet{why}{quiet}: {advice}')]
    found = [Finding(Level.ERROR, f'scale: {known.scale.fault}{quiet}')] if known.scale.fault else []
    found += [Finding(Level.WARN, f'scale: {sentence}') for sentence in known.contradictions]
    found += [Finding(Level.WARN, f'scale: {report.name} {report.doubt}') for report in known.reports if report.doubt]
    return found


def scale_values(known: ScaleStatus | None) -> dict[str, object]:
    """Return the values of a measured scale, and of each of its sources."""
    if known is None:
        return {}
    scale = known.scale
    values: dict[str, object] = {
        'scale in use': scale.source if scale.metric else 'none yet',
        'scale [m per unit]': f'{scale.factor:.4g}' if scale.metric else 'not known',
        'scale standard deviation [%]': scale.uncertainty * 100,
        'scale age [s]': scale.age_s,
    }
    for report in known.reports:
        if report.estimate is not None:
            values[f'{report.name}: scale [m per unit]'] = f'{report.estimate.factor:.4g}'
            values[f'{report.name}: standard deviation [%]'] = report.estimate.std * 100
            values[f'{report.name}: age [s]'] = report.estimate.age_s
            values[f'{report.name}: accepted'] = report.estimate.updates
        values |= {
            f'{report.name} refused: {_short(report.name, reason)}': count for reason, count in report.refused.items()
        }
    return values


def _short(name: str, reason: str) -> str:
    """Return a reason without the name of its source in front."""
    return reason.removeprefix(f'{name}: ')

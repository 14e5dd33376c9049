"""Evaluate a checkpoint on drives: every measurement that was asked for and that the drive allows, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sidepth_core.data.frames import Frame, FrameSource
from sidepth_core.data.rectified import rectified
from sidepth_core.errors import ConfigError
from sidepth_core.evaluation.depth_metrics import DepthProtocol
from sidepth_core.evaluation.evaluated_model import EvaluatedModel
from sidepth_core.evaluation.figures import FigureFrames, Sample
from sidepth_core.evaluation.flicker import FlickerScores
from sidepth_core.evaluation.metrics import (
    DepthMetric,
    DepthSummary,
    FlickerMetric,
    FrameEstimate,
    PoseMetric,
    SynthesisMetric,
    SynthesisScores,
)
from sidepth_core.evaluation.pose_metrics import ALIGNMENTS, PoseScores
from sidepth_core.evaluation.zoom_metrics import ZoomRow, ZoomScore, mean_zooms, score_zooms

METRICS = ('depth', 'pose', 'zoom', 'flicker', 'synthesis')
GAP_NS = 1_000_000_000
"""Frames farther apart than this are no neighbours: nothing is compared across."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured, and how.

    Attributes:
        metrics: Names of METRICS; what a drive does not allow is left out and said.
        protocol: Which pixels count for depth.
        alignment: How trajectories are aligned for the absolute error, a name of ALIGNMENTS.
        every: Only every so many frames are looked at.
        limit: At most so many frames of a drive are looked at; 0 for all.
        zoom_every: Zoom is measured on every so many of the frames looked at: it costs five passes more.
        figures: About how many figures of a drive are kept.

    Raises:
        ConfigError: If a name is unknown or a number cannot be.
    """

    metrics: tuple[str, ...] = METRICS
    protocol: DepthProtocol = field(default_factory=DepthProtocol)
    alignment: str = 'similarity'
    every: int = 1
    limit: int = 0
    zoom_every: int = 5
    figures: int = 6

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, naming every fault."""
        unknown = [name for name in self.metrics if name not in METRICS]
        faults = [f'measure {name!r} is not one of {", ".join(METRICS)}' for name in unknown]
        if self.alignment not in ALIGNMENTS:
            faults.append(f'alignment {self.alignment!r} is not one of {", ".join(ALIGNMENTS)}')
        if min(self.every, self.zoom_every) < 1 or min(self.limit, self.figures) < 0:
            faults.append('every and zoom_every must be 1 or more, limit and figures 0 or more')
        if faults:
            raise ConfigError(f'evaluation cannot run: {"; ".join(faults)}')


@dataclass(frozen=True)
class DriveEvaluation:
    """The figures of one drive; None where they were not asked for or the drive does not allow them.

    Attributes:
        name: The drive.
        frames: How many frames were looked at.
        depth: Depth against the truth.
        pose: Trajectory against the truth.
        zoom: One row per zoom; empty without truth.
        flicker: Change of depth that motion does not explain.
        synthesis: View synthesis, which needs no truth.
        samples: Frames for figures.
        notes: What a reader must know: measurements that were not possible and why, what the source reports.
    """

    name: str
    frames: int
    depth: DepthSummary | None = None
    pose: PoseScores | None = None
    zoom: tuple[ZoomRow, ...] = ()
    flicker: FlickerScores | None = None
    synthesis: SynthesisScores | None = None
    samples: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()


Progress = Callable[[int], None]
"""Is told how many frames have been looked at."""


def evaluate(
    model: EvaluatedModel, source: FrameSource, settings: EvaluationSettings, progress: Progress | None = None
) -> DriveEvaluation:
    """Return the figures of a checkpoint on one drive.

    Raises:
        DatasetError: If the drive cannot be read.
        ScaleError: If the checkpoint needs a camera and the drive has none.
    """
    evaluation = evaluate_frames(model, source, settings, source.report.name, progress)
    report = source.report
    skipped = [f'{count} not used: {reason}' for reason, count in report.skipped.most_common()]
    notes = (*evaluation.notes, *report.notes, *skipped)
    return DriveEvaluation(**{**vars(evaluation), 'notes': notes})


def evaluate_frames(
    model: EvaluatedModel,
    frames: Iterable[Frame],
    settings: EvaluationSettings,
    name: str,
    progress: Progress | None = None,
) -> DriveEvaluation:
    """Return the figures of a checkpoint on frames in order of time; see evaluate."""
    run = _Run(model, settings)
    for estimate, follows in _estimates(model, _chosen(frames, settings), settings):
        run.add(estimate, follows=follows)
        if progress is not None:
            progress(run.frames)
    return run.result(name)


def _chosen(frames: Iterable[Frame], settings: EvaluationSettings) -> Iterator[tuple[int, Frame]]:
    taken = 0
    for index, frame in enumerate(frames):
        if index % settings.every:
            continue
        yield index, frame
        taken += 1
        if taken == settings.limit:
            return


def _estimates(
    model: EvaluatedModel, frames: Iterable[tuple[int, Frame]], settings: EvaluationSettings
) -> Iterator[tuple[FrameEstimate, bool]]:
    """Yield what the networks say of each frame, and whether it follows the one before without a gap."""
    wants_motion = model.pose_net is not None and bool({'pose', 'synthesis'} & set(settings.metrics))
    before: Frame | None = None
    for index, raw in frames:
        frame = rectified(raw)
        follows = before is not None and 0 < frame.stamp_ns - before.stamp_ns <= GAP_NS
        follows = follows and before is not None and before.image.shape == frame.image.shape
        motion = model.pose(before.image, frame.image) if wants_motion and follows and before is not None else None
        yield FrameEstimate(index, frame, model.depth(frame.image, frame.camera), motion), follows
        before = frame


class _Run:
    """The measurements of one drive under way."""

    def __init__(self, model: EvaluatedModel, settings: EvaluationSettings) -> None:
        self._model = model
        self._settings = settings
        self._depth = DepthMetric(settings.protocol)
        self._pose = PoseMetric(settings.alignment, scaled=not model.is_metric)
        self._flicker = FlickerMetric(metric=model.is_metric)
        self._synthesis = SynthesisMetric()
        self._zooms: list[ZoomScore] = []
        self._figures = FigureFrames(settings.figures, metric=model.is_metric)
        self.frames = 0

    def add(self, estimate: FrameEstimate, *, follows: bool) -> None:
        """Measure one frame."""
        metrics = self._settings.metrics
        row = self._depth.add(estimate) if {'depth', 'zoom', 'flicker'} & set(metrics) else None
        if 'pose' in metrics:
            self._pose.add(estimate)
        if 'flicker' in metrics:
            self._flicker.add(estimate, None if row is None else row.score.ratio, follows=follows)
        if 'synthesis' in metrics:
            self._synthesis.add(estimate)
        if 'zoom' in metrics and self.frames % self._settings.zoom_every == 0:
            self._add_zooms(estimate)
        self._figures.add(estimate, row)
        self.frames += 1

    def _add_zooms(self, estimate: FrameEstimate) -> None:
        frame = estimate.frame
        if frame.camera is not None and frame.depth_m is not None:
            self._zooms += score_zooms(
                self._model.depth, frame.image, frame.camera, frame.depth_m, self._settings.protocol
            )

    def result(self, name: str) -> DriveEvaluation:
        """Return the figures."""
        evaluation = DriveEvaluation(
            name=name,
            frames=self.frames,
            depth=self._depth.result() if 'depth' in self._settings.metrics else None,
            pose=self._pose.result(),
            zoom=tuple(mean_zooms(self._zooms)),
            flicker=self._flicker.result(),
            synthesis=self._synthesis.result(),
            samples=tuple(self._figures.samples()),
        )
        absences = self._absences(evaluation)
        notes = ('not measured: ' + '; '.join(absences),) if absences else ()
        return DriveEvaluation(**{**vars(evaluation), 'notes': notes})

    def _absences(self, evaluation: DriveEvaluation) -> list[str]:
        """Say why what was asked for is missing."""
        motionless = 'the checkpoint has no pose network' if self._model.pose_net is None else ''
        reasons = {
            'depth': 'no frame has known depth',
            'pose': motionless or 'no neighbouring frames have known poses',
            'zoom': 'no frame has known depth and camera',
            'flicker': 'no known poses, or neither metric weights nor a frame with known depth',
            'synthesis': motionless or 'no neighbouring frames with a camera',
        }
        missing = [measure for measure in self._settings.metrics if not getattr(evaluation, measure)]
        return [f'{measure} ({reasons[measure]})' for measure in missing]

"""Evaluate a checkpoint on drives: every measurement that was asked for and that the drive allows, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sidepth_core.data.frames import Frame, FrameSource
from sidepth_core.errors import ConfigError
from sidepth_core.evaluation.depth_metrics import DepthProtocol
from sidepth_core.evaluation.flicker import FlickerScores
from sidepth_core.evaluation.gallery import Gallery, Sample
from sidepth_core.evaluation.measures import (
    DepthMeasure,
    DepthSummary,
    FlickerMeasure,
    PoseMeasure,
    Sight,
    SynthesisMeasure,
    SynthesisScores,
)
from sidepth_core.evaluation.pose_metrics import ALIGNMENTS, PoseScores
from sidepth_core.evaluation.subject import Subject, rectified
from sidepth_core.evaluation.zoom_metrics import ZoomRow, ZoomScore, mean_zooms, score_zooms

MEASURES = ('depth', 'pose', 'zoom', 'flicker', 'synthesis')
GAP_NS = 1_000_000_000
"""Frames farther apart than this are no neighbours: nothing is compared across."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured, and how.

    Attributes:
        measures: Names of MEASURES; what a drive does not allow is left out and said.
        protocol: Which pixels count for depth.
        alignment: How trajectories are aligned for the absolute error, a name of ALIGNMENTS.
        every: Only every so many frames are looked at.
        limit: At most so many frames of a drive are looked at; 0 for all.
        zoom_every: Zoom is measured on every so many of the frames looked at: it costs five passes more.
        pictures: About how many pictures of a drive are kept.

    Raises:
        ConfigError: If a name is unknown or a number cannot be.
    """

    measures: tuple[str, ...] = MEASURES
    protocol: DepthProtocol = field(default_factory=DepthProtocol)
    alignment: str = 'similarity'
    every: int = 1
    limit: int = 0
    zoom_every: int = 5
    pictures: int = 6

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, naming every fault."""
        unknown = [name for name in self.measures if name not in MEASURES]
        faults = [f'measure {name!r} is not one of {", ".join(MEASURES)}' for name in unknown]
        if self.alignment not in ALIGNMENTS:
            faults.append(f'alignment {self.alignment!r} is not one of {", ".join(ALIGNMENTS)}')
        if min(self.every, self.zoom_every) < 1 or min(self.limit, self.pictures) < 0:
            faults.append('every and zoom_every must be 1 or more, limit and pictures 0 or more')
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
        samples: Frames for pictures.
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
    subject: Subject, source: FrameSource, settings: EvaluationSettings, progress: Progress | None = None
) -> DriveEvaluation:
    """Return the figures of a checkpoint on one drive.

    Raises:
        DatasetError: If the drive cannot be read.
        ScaleError: If the checkpoint needs a camera and the drive has none.
    """
    evaluation = evaluate_frames(subject, source, settings, source.report.name, progress)
    report = source.report
    skipped = [f'{count} not used: {reason}' for reason, count in report.skipped.most_common()]
    notes = (*evaluation.notes, *report.notes, *skipped)
    return DriveEvaluation(**{**vars(evaluation), 'notes': notes})


def evaluate_frames(
    subject: Subject,
    frames: Iterable[Frame],
    settings: EvaluationSettings,
    name: str,
    progress: Progress | None = None,
) -> DriveEvaluation:
    """Return the figures of a checkpoint on frames in order of time; see evaluate."""
    run = _Run(subject, settings)
    for sight, follows in _sights(subject, _chosen(frames, settings), settings):
        run.add(sight, follows=follows)
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


def _sights(
    subject: Subject, frames: Iterable[tuple[int, Frame]], settings: EvaluationSettings
) -> Iterator[tuple[Sight, bool]]:
    """Yield what the networks say of each frame, and whether it follows the one before without a gap."""
    wants_motion = subject.pose_net is not None and bool({'pose', 'synthesis'} & set(settings.measures))
    before: Frame | None = None
    for index, raw in frames:
        frame = rectified(raw)
        follows = before is not None and 0 < frame.stamp_ns - before.stamp_ns <= GAP_NS
        follows = follows and before is not None and before.image.shape == frame.image.shape
        motion = subject.pose(before.image, frame.image) if wants_motion and follows and before is not None else None
        yield Sight(index, frame, subject.depth(frame.image, frame.camera), motion), follows
        before = frame


class _Run:
    """The measurements of one drive under way."""

    def __init__(self, subject: Subject, settings: EvaluationSettings) -> None:
        self._subject = subject
        self._settings = settings
        self._depth = DepthMeasure(settings.protocol)
        self._pose = PoseMeasure(settings.alignment, scaled=not subject.is_metric)
        self._flicker = FlickerMeasure(metric=subject.is_metric)
        self._synthesis = SynthesisMeasure()
        self._zooms: list[ZoomScore] = []
        self._gallery = Gallery(settings.pictures, metric=subject.is_metric)
        self.frames = 0

    def add(self, sight: Sight, *, follows: bool) -> None:
        """Measure one frame."""
        measures = self._settings.measures
        row = self._depth.add(sight) if {'depth', 'zoom', 'flicker'} & set(measures) else None
        if 'pose' in measures:
            self._pose.add(sight)
        if 'flicker' in measures:
            self._flicker.add(sight, None if row is None else row.score.ratio, follows=follows)
        if 'synthesis' in measures:
            self._synthesis.add(sight)
        if 'zoom' in measures and self.frames % self._settings.zoom_every == 0:
            self._add_zooms(sight)
        self._gallery.add(sight, row)
        self.frames += 1

    def _add_zooms(self, sight: Sight) -> None:
        frame = sight.frame
        if frame.camera is not None and frame.depth_m is not None:
            self._zooms += score_zooms(
                self._subject.depth, frame.image, frame.camera, frame.depth_m, self._settings.protocol
            )

    def result(self, name: str) -> DriveEvaluation:
        """Return the figures."""
        evaluation = DriveEvaluation(
            name=name,
            frames=self.frames,
            depth=self._depth.result() if 'depth' in self._settings.measures else None,
            pose=self._pose.result(),
            zoom=tuple(mean_zooms(self._zooms)),
            flicker=self._flicker.result(),
            synthesis=self._synthesis.result(),
            samples=tuple(self._gallery.samples()),
        )
        absences = self._absences(evaluation)
        notes = ('not measured: ' + '; '.join(absences),) if absences else ()
        return DriveEvaluation(**{**vars(evaluation), 'notes': notes})

    def _absences(self, evaluation: DriveEvaluation) -> list[str]:
        """Say why what was asked for is missing."""
        motionless = 'the checkpoint has no pose network' if self._subject.pose_net is None else ''
        reasons = {
            'depth': 'no frame has known depth',
            'pose': motionless or 'no neighbouring frames have known poses',
            'zoom': 'no frame has known depth and camera',
            'flicker': 'no known poses, or neither metric weights nor a frame with known depth',
            'synthesis': motionless or 'no neighbouring frames with a camera',
        }
        missing = [measure for measure in self._settings.measures if not getattr(evaluation, measure)]
        return [f'{measure} ({reasons[measure]})' for measure in missing]

"""Reading a drive with several threads: sources list what is to be decoded, and a pool decodes ahead, in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from pathlib import Path

from sidepth_core.data.calibration import ViewError
from sidepth_core.data.frames import Frame, SourceReport
from sidepth_core.errors import DatasetError, ImageFormatError, ImageSizeError

Pending = Callable[[], Frame]
"""Decodes one frame when called. Safe to call from any thread; raises ImageFormatError if the image is damaged."""

DECODING = ('damaged image', 'size')
"""How the reasons begin that only decoding can tell."""

FIRST = 'first damaged image:'
FIRST_MISFIT = 'first image of another view:'

LOOKAHEAD = 8
"""Frames a thread may decode before they are asked for: enough to keep it busy, few enough to fit in memory."""


class DeferredSource(ABC):
    """A FrameSource whose images are decoded only when wanted, and by many threads at once.

    Attributes:
        report: What became of its images; reset by every reading.
        one_size: Whether images of another size than the first are left out, as a drive's must be.
    """

    one_size = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.report = SourceReport(name)

    @abstractmethod
    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image, in order of time, and fill `report` except for what decoding tells.

        Raises:
            DatasetError: If the source cannot be read at all.
        """

    def expected(self) -> int | None:
        """Return about how many images there are, found without decoding any; None if that is not known."""
        return None

    @property
    def identity(self) -> str:
        """What tells this source, with its options, from any other; stays the same from run to run."""
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of time."""
        for _, frame in self.frames():
            yield frame

    def frames(
        self,
        pool: Executor | None = None,
        workers: int = 1,
        start: int = 0,
        counted_from: int = 0,
        earlier: SourceReport | None = None,
    ) -> Iterator[tuple[int, Frame]]:
        """Yield each frame with its position, which counts good and bad images alike.

        Args:
            pool: Decodes ahead where given.
            workers: How many threads the pool has.
            start: Position to start at; nothing before it is decoded.
            counted_from: Position from which images are counted in the report.
            earlier: The report of an earlier reading that went up to there, to be continued.

        Raises:
            DatasetError: If the source cannot be read at all, or has images and none of them is any good.
        """
        self.report = SourceReport(self.name)
        if earlier:
            # What decoding told; all else is counted again while the skipped images pass by.
            self.report.used = earlier.used
            told = {reason: count for reason, count in earlier.skipped.items() if reason.startswith(DECODING)}
            self.report.skipped.update(told)
            self.report.notes.extend(note for note in earlier.notes if note.startswith((FIRST, FIRST_MISFIT)))
        size: tuple[int, int] | None = None
        position = start - 1
        for position, decode in enumerate(_ahead(islice(self.pending(), start, None), pool, workers), start):
            try:
                frame = decode()
            except (ImageFormatError, ViewError) as error:
                if position >= counted_from:
                    self._skip_undecoded(error)
                continue
            found = frame.image.shape[1], frame.image.shape[0]
            if size is None:
                size = found
                self.report.notes.extend(frame.camera.doubts() if frame.camera else ())
            if self.one_size and found != size:
                if position >= counted_from:
                    self._skip(f'{DECODING[1]} {found[0]}x{found[1]} differs from {size[0]}x{size[1]}')
                continue
            self.report.used += position >= counted_from
            yield position, frame
        if start == 0 and self.report.used == 0:
            raise DatasetError(f'{self.name} has no usable image: {self._reasons()}')

    def _skip_undecoded(self, error: ImageFormatError | ViewError) -> None:
        if isinstance(error, ViewError):
            self._skip(f'{DECODING[1]} does not fit the calibration', f'{FIRST_MISFIT} {error}')
        else:
            detail = ': more pixels than are decoded' if isinstance(error, ImageSizeError) else ''
            self._skip(f'{DECODING[0]}{detail}', f'{FIRST} {error}')

    def _skip(self, reason: str, note: str | None = None) -> None:
        """Count an image that is not used; the note is kept for the first of its kind."""
        if note and not self.report.skipped[reason]:
            self.report.notes.append(note)
        self.report.skipped[reason] += 1

    def _reasons(self) -> str:
        skipped = ', '.join(f'{count} x {reason}' for reason, count in self.report.skipped.items())
        return '; '.join(filter(None, [skipped, *self.report.notes])) or 'it holds no images'


def content_of(path: Path) -> str:
    """Return how many files a path holds and how long they are: another recording in its place is told from it."""
    files = [path] if path.is_file() else [file for file in path.rglob('*') if file.is_file()]
    return f'{path.resolve()}, {len(files)} files, {sum(file.stat().st_size for file in files)} bytes'


def _ahead(pending: Iterator[Pending], pool: Executor | None, workers: int) -> Iterator[Pending]:
    """Yield as many calls as came in, in their order, some of them decoded already by the pool."""
    if pool is None:
        yield from pending
        return
    queue: deque[Future[Frame]] = deque()
    for decode in pending:
        queue.append(pool.submit(decode))
        if len(queue) > workers + LOOKAHEAD:
            yield queue.popleft().result
    while queue:
        yield queue.popleft().result

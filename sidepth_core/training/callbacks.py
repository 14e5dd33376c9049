"""What happens beside the steps: saving, figures, choosing the best, stopping.

Lightning's ModelCheckpoint and EarlyStopping keep its own files; `best` and `last` are checkpoints that the node loads,
and a state that is saved between them resumes bit for bit. ThroughputMonitor does not measure the wait for data.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from sidepth_core.data.clips import Batch
from sidepth_core.training.collapse import CollapseDetector
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.objective import evaluate
from sidepth_core.training.settings import WatchSettings
from sidepth_core.visualisation import Panel, draw_depth, save_image, side_by_side

LOG = logging.getLogger(__name__)

RESUME_FILE = 'resume.ckpt'
"""What a run goes on from: weights, averages, optimiser, step. It is read with weights_only."""


class StepCallback(Callback):
    """Is called at the end of each step, which may have several batches; Lightning calls for each batch."""

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,  # noqa: ANN401 - Lightning's signature
        _batch: Any,  # noqa: ANN401
        index: int,
    ) -> None:
        """Call `on_step_end` after the last batch of a step."""
        if ends_step(trainer, index):
            self.on_step_end(trainer, module)

    def on_step_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Do what is due; the trainer's `global_step` counts this step."""
        raise NotImplementedError


def ends_step(trainer: L.Trainer, index: int) -> bool:
    """Whether the batch of this index was the last one whose gradient belongs to a step."""
    return (index + 1) % int(trainer.accumulate_grad_batches) == 0


class ProgressBar(TQDMProgressBar):
    """Lightning's bar over the batches of the whole run, which is one endless epoch to it."""

    @property
    def total_train_batches(self) -> int:
        """Batches of the run: its steps, unless several make one."""
        return int(self.trainer.max_steps) * int(self.trainer.accumulate_grad_batches)

    def on_exception(self, *_: Any) -> None:  # noqa: ANN401 - Lightning passes what nobody reads here
        """Close the bar, so that what is said of the error begins on a line of its own."""
        if self._train_progress_bar is not None:
            self.train_progress_bar.close()

    def get_metrics(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
        """Leave the version number out."""
        return {name: value for name, value in super().get_metrics(trainer, module).items() if name != 'v_num'}


@contextmanager
def interruptions_as_before() -> Iterator[None]:
    """Leave Ctrl-C as it was when a run ends or fails.

    Lightning alone does not: it puts back the handler it has found in the middle of a run, which is SaveState's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class SaveState(StepCallback):
    """Saves, every so often and when it is interrupted, the state to resume from and the checkpoint `last`.

    Ctrl-C ends a run of one process when the step under way is finished and saved; a second one ends it at once.

    Args:
        folder: The run's.
        every: Steps between saves.
        save_last: Writes the checkpoint `last`.
    """

    def __init__(self, folder: Path, every: int, save_last: Callable[[dict[str, float]], None]) -> None:
        self._folder, self._every, self._save_last = folder, every, save_last
        self._is_interrupted = False

    def on_fit_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Wait for Ctrl-C; processes that train together would not stop at the same step."""
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupted)

    def on_step_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Save when it is time; where a validation follows this step, after it, so that its verdict is saved too.

        Raises:
            KeyboardInterrupt: If there was Ctrl-C.
        """
        if trainer.global_step * trainer.accumulate_grad_batches % trainer.val_check_interval == 0:
            return
        is_due = trainer.global_step % self._every == 0 or trainer.global_step == trainer.max_steps
        if is_due or self._is_interrupted:
            self._save(trainer)

    def on_validation_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Save what the validation has said.

        Raises:
            KeyboardInterrupt: If there was Ctrl-C.
        """
        self._save(trainer)

    def _interrupted(self, *_: Any) -> None:  # noqa: ANN401 - what a signal brings
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._is_interrupted = True
        LOG.warning(
            'interrupted: the step under way is finished and saved (Ctrl-C again: not even that). '
            'Go on with: sidepth train --recipe %s --resume',
            self._folder / 'config.yaml',
        )

    def _save(self, trainer: L.Trainer) -> None:
        path = self._folder / RESUME_FILE
        staged = path.with_suffix('.partial')
        trainer.save_checkpoint(staged)  # every process takes part; the first one writes
        if trainer.is_global_zero:
            staged.replace(path)
            self._save_last({})
        if self._is_interrupted:
            raise KeyboardInterrupt


class KeepBest(Callback):
    """Keeps the checkpoint that does best on the validation clips, and stops a run that no longer improves.

    Args:
        metric: What less of is better, as it is logged; where the clips do not tell it, 'val/photometric' is.
        patience: Validations without improvement after which the run stops; 0 never does.
        save_best: Writes the checkpoint `best` with its scores.
    """

    def __init__(self, metric: str, patience: int, save_best: Callable[[dict[str, float]], None]) -> None:
        self._metric, self._patience, self._save_best = metric, patience, save_best
        self.best = math.inf
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {'best': self.best, 'waited': self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what state_dict returned."""
        self.best, self.waited = state['best'], state['waited']

    def on_validation_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Compare the scores with the best so far."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith('val/')}
        score = scores.get(self._metric, scores.get('val/photometric', math.nan))
        if score < self.best:
            self.best, self.waited = score, 0
            if trainer.is_global_zero:
                self._save_best(scores)
            return
        self.waited += 1
        if self._patience and self.waited >= self._patience:
            trainer.should_stop = True


class StopOnCollapse(StepCallback):
    """Stops a run that is going nowhere, and says why.

    Args:
        settings: When, and how patiently.
    """

    def __init__(self, settings: WatchSettings) -> None:
        self._watch = CollapseDetector(settings)

    def on_step_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Look at the signs that the module took in this step.

        Raises:
            CollapseError: If they have been bad for long enough.
        """
        assert isinstance(module, DepthTraining)  # noqa: S101 - for the type checker
        if module.last_signs is not None:
            self._watch.look(module.last_signs, trainer.global_step)
            module.last_signs = None


class Figures(StepCallback):
    """Draws what the averaged networks make of one validation clip, into the run's folder and into TensorBoard.

    Args:
        folder: Where figures go.
        every: Steps between them.
        batch: The clip, as a batch of one.
    """

    def __init__(self, folder: Path, every: int, batch: Callable[[], Batch]) -> None:
        self._folder, self._every, self._batch = folder, every, batch

    def on_step_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Draw when it is time."""
        due = trainer.global_step % self._every == 0 or trainer.global_step == trainer.max_steps
        if not due or not trainer.is_global_zero:
            return
        assert isinstance(module, DepthTraining)  # noqa: S101 - for the type checker
        figure = draw_clip(module, self._batch().to(module.device))
        save_image(self._folder / f'step-{trainer.global_step:07d}.png', figure)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image('validation', figure, trainer.global_step, dataformats='HWC')


@torch.no_grad()
def draw_clip(module: DepthTraining, batch: Batch) -> npt.NDArray[np.uint8]:
    """Return image, depth, the next frame warped into it, and what is left unexplained, as one (H, W, 3) figure."""
    networks = module.average.networks
    view = module.plain(batch)
    outcome = evaluate(networks, view, module.recipe.objective, precision=module.recipe.precision)
    panels = [Panel(_rgb(view.target[0]), 'image'), Panel(draw_depth(outcome.depth_m[0, 0].cpu().numpy()), 'depth')]
    if outcome.reprojection is not None:
        error = outcome.reprojection.error[0].expand(3, -1, -1)
        next_frame = _rgb(outcome.warped[-1].image[0])
        panels += [Panel(next_frame, 'next frame, warped'), Panel(_rgb(2 * error), 'unexplained x2')]
    return side_by_side([panels])


def _rgb(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return a (3, H, W) image in 0..1 as (H, W, 3) uint8."""
    return np.ascontiguousarray(image.clamp(0, 1).mul(255).byte().permute(1, 2, 0).cpu().numpy())


class Throughput(Callback):
    """Logs images a second, and the share of the time that was spent waiting for data.

    Args:
        every: Steps between points.
        clips: Clips of a batch over all processes.
    """

    def __init__(self, every: int, clips: int) -> None:
        self._every, self._clips = every, clips
        self._since = self._ended = time.perf_counter()
        self._waited = 0.0
        self._batches = 0

    def on_train_start(self, *_: Any) -> None:  # noqa: ANN401 - as above
        """Start the clock."""
        self._since = self._ended = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401 - as above
        """The time since the last step's end was waiting."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(self, trainer: L.Trainer, *arguments: Any) -> None:  # noqa: ANN401 - as above
        """Log when it is time."""
        now = time.perf_counter()
        self._batches += 1
        if ends_step(trainer, arguments[-1]) and trainer.global_step % self._every == 0:
            spent = now - self._since
            values = {
                'speed/clips_per_s': self._batches * self._clips / spent,
                'speed/waiting_share': self._waited / spent,
            }
            for logger in trainer.loggers:
                logger.log_metrics(values, trainer.global_step - 1)
            self._since, self._waited, self._batches = now, 0.0, 0
        self._ended = time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:  # noqa: ANN401 - as above
        """Validation is not waiting."""
        self._ended = time.perf_counter()

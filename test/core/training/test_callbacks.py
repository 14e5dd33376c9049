"""What happens beside the steps of training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidepth_core.training.callbacks import RESUME_FILE, SaveState, interruptions_as_before


def trainer_at(step: int, *, world_size: int = 1) -> Any:
    return SimpleNamespace(
        global_step=step, val_check_interval=10, accumulate_grad_batches=1, max_steps=100, world_size=world_size,
        is_global_zero=True,
        save_checkpoint=lambda path: path.write_text(str(step)),
    )  # fmt: skip


@pytest.mark.parametrize('step', [3, 10])
def test_an_interrupted_run_saves_its_step_and_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, step: int
) -> None:
    before = signal.getsignal(signal.SIGINT)
    saved = SaveState(tmp_path, 50, lambda _: None)
    trainer = trainer_at(step)
    with interruptions_as_before():
        saved.on_fit_start(trainer, trainer)
        saved.on_step_end(trainer_at(step - 1), trainer)
        assert not (tmp_path / RESUME_FILE).exists()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match=r'^$'):
            # Where a validation follows the step, its verdict is saved too.
            saved.on_step_end(trainer, trainer) if step % 10 else saved.on_validation_end(trainer, trainer)
    assert (tmp_path / RESUME_FILE).read_text() == str(step)
    assert f'--recipe {tmp_path}/config.yaml --resume' in caplog.text
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize('before', [signal.default_int_handler, signal.SIG_IGN], ids=['terminal', 'background'])
def test_a_second_interruption_ends_a_run_at_once(tmp_path: Path, before: Any) -> None:
    usual = signal.signal(signal.SIGINT, before)
    saved = SaveState(tmp_path, 50, lambda _: None)
    with interruptions_as_before():
        saved.on_fit_start(trainer_at(1), trainer_at(1))
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match=r'^$'):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.signal(signal.SIGINT, usual) is before


def test_processes_that_train_together_leave_interruptions_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    saved = SaveState(tmp_path, 50, lambda _: None)
    saved.on_fit_start(trainer_at(1, world_size=2), trainer_at(1))
    assert signal.getsignal(signal.SIGINT) is before

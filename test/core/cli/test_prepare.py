"""`sidepth prepare` as a person types it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.cli import main
from sidepth_core.data.prepare.dataset import PreparedDataset


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (16, 60, 3), dtype=np.uint8)
    wall = cv2.resize(noise, (240, 64), interpolation=cv2.INTER_CUBIC)
    folder = tmp_path / 'drive'
    folder.mkdir()
    for index in range(6):
        cv2.imwrite(str(folder / f'{index}.png'), wall[:, 3 * index : 3 * index + 160])
    (folder / 'notes.md').write_text('x')
    return folder


def test_options_come_before_or_after_the_sources_and_the_report_is_printed(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '200')
    out = str(tmp_path / 'cache')
    size = ['--width', '96', '--height', '32']
    assert main(['prepare', *size, f'{drive}?camera=learned&fps=5', '--out', out, '--camera', 'learned']) == 0
    printed = capsys.readouterr().out
    assert '4 clips of 125x42' in printed
    assert '1 not an image file' in printed
    assert f'{out}/report.png' in printed.replace('\n', '')
    assert len(PreparedDataset(out)) == 4
    assert PreparedDataset(out)[0].dt_s.tolist() == pytest.approx([0.2, 0.2])


def test_an_unknown_camera_ends_in_one_line_that_says_what_to_do(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['prepare', str(drive), '--out', str(tmp_path / 'cache')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'is not calibrated' in error
    assert 'camera=learned' in error


def test_help_shows_every_kind_of_source(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        main(['prepare', '--help'])
    printed = capsys.readouterr().out
    for word in ('rosbag2', 'drive.mp4?camera=front.yaml', 'camera=learned', 'split=eigen_zhou', 'synthetic:street'):
        assert word in printed

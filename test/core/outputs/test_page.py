"""Pages: what is in them, and what a real browser makes of them where there is one."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.errors import ConfigError
from sidepth_core.outputs import Cloud, Page
from sidepth_core.outputs.page import MOST_POINTS, View

BROWSERS = [shutil.which(name) for name in ('chromium', 'chromium-browser', 'google-chrome')]
BROWSER = next(filter(None, BROWSERS), None)
RED, BLUE = ((np.full((40, 400, 3), colour, np.uint8)) for colour in ((220, 30, 30), (30, 30, 220)))


def cloud(count: int = 500) -> Cloud:
    points = np.random.default_rng(0).normal((0, 0, 5), size=(count, 3))
    return Cloud(points.astype(np.float32), np.full((count, 3), (0, 160, 0), np.uint8))


def page() -> Page:
    made = Page('Depth of <a> "drive" & more')
    made.heading('Before and after')
    made.slider(RED, BLUE, ('before', 'after'))
    made.curves('loss', {'train': ([1, 2, 3], [0.5, math.nan, 0.3])}, ('step', 'loss'))
    made.table(('name', 'value'), [('AbsRel', 0.25)])
    made.notes(['</script><script>document.title = "broken"</script>'])
    made.viewer([View('a', RED, BLUE, cloud()), View('b', BLUE, RED, cloud(3))])
    return made


def data_of(path: Path) -> dict[str, list[dict[str, object]]]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text.replace('<\\/', '</'))


def test_a_page_is_complete_in_itself_and_says_only_what_was_put_in(tmp_path: Path) -> None:
    text = page().write(tmp_path / 'new' / 'page.html').read_text()
    body = re.sub(r'<script>.*?</script>', '', text, flags=re.DOTALL)
    assert 'Depth of &lt;a&gt; &quot;drive&quot; &amp; more' in body
    assert '&lt;/script&gt;' in body
    assert not re.findall(r'(?:src|href)="(?!data:)', body)
    assert 'plotly.js v' in text


def test_a_cloud_arrives_with_x_right_y_forward_z_up(tmp_path: Path) -> None:
    made = Page('cloud')
    made.cloud(Cloud(np.array([[1, 2, 3]], np.float32), np.array([[7, 8, 9]], np.uint8)))
    packed = data_of(made.write(tmp_path / 'page.html'))['viewers'][0]['frames'][0]['cloud']
    axes = [np.frombuffer(base64.b64decode(packed[axis]), '<f4').tolist() for axis in 'xyz']
    assert axes == [[1], [3], [-2]]
    assert list(base64.b64decode(packed['rgb'])) == [7, 8, 9]


def test_a_large_cloud_is_thinned(tmp_path: Path) -> None:
    made = Page('cloud')
    made.cloud(cloud(MOST_POINTS + 1))
    assert data_of(made.write(tmp_path / 'page.html'))['viewers'][0]['frames'][0]['cloud']['count'] == MOST_POINTS


def test_a_page_without_plots_is_small_and_another_suffix_is_refused(tmp_path: Path) -> None:
    made = Page('text')
    made.text('nothing to draw')
    assert made.write(tmp_path / 'page.html').stat().st_size < 20_000
    with pytest.raises(ConfigError, match=r"'page.txt' is no name of a page: use .html"):
        made.write(Path('page.txt'))
    with pytest.raises(ConfigError, match='at least one frame'):
        made.viewer([])


@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
def test_a_browser_draws_pictures_curves_and_cloud(tmp_path: Path) -> None:
    path, shot = page().write(tmp_path / 'page.html'), tmp_path / 'shot.png'
    flags = ['--headless', '--no-sandbox', '--hide-scrollbars', '--use-angle=swiftshader']
    flags += ['--enable-unsafe-swiftshader', f'--user-data-dir={tmp_path}/profile', '--window-size=1000,1900']
    command = [str(BROWSER), *flags, f'--screenshot={shot}', path.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    drawn = cv2.cvtColor(cv2.imread(str(shot)), cv2.COLOR_BGR2RGB).astype(int)
    red, green, blue = (drawn[..., channel] for channel in range(3))
    assert ((red > 180) & (green < 70) & (blue < 70)).sum() > 15_000, 'left halves of the sliders'
    assert ((blue > 180) & (red < 70) & (green < 70)).sum() > 15_000, 'right halves'
    assert ((green > 120) & (red < 60) & (blue < 60)).sum() > 200, 'points of the cloud'
    assert ((abs(drawn - (31, 119, 180))).max(axis=-1) < 60).sum() > 30, 'curve'

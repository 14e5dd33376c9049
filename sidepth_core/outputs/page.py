"""Pages for a browser, complete in one file: pictures, a slider between two of them, curves, clouds that can be turned.

Curves and clouds are drawn by plotly.js (MIT), which lies inside the page: it opens without a network connection.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError
from sidepth_core.outputs.clouds import Cloud
from sidepth_core.outputs.page_parts import SCRIPT, STYLE

MOST_POINTS = 60_000
"""Of one cloud: a browser without a GPU still turns it."""
WIDEST = 1280
"""Pixels; wider images are shrunk."""
JPEG_QUALITY = 88

Image = npt.NDArray[np.uint8]
Curve = tuple[Sequence[float], Sequence[float]]


class View(NamedTuple):
    """One frame of a viewer.

    Attributes:
        name: What it is called.
        image: (H, W, 3) uint8 RGB.
        depth: Its depth in colours, of the same size.
        cloud: Its points in the optical frame.
    """

    name: str
    image: Image
    depth: Image
    cloud: Cloud


class Page:
    """A page that grows from top to bottom and is written once.

    Args:
        title: What it is about.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._plots: list[Any] = []
        self._viewers: list[Any] = []

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f'<h2>{html.escape(text)}</h2>')

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f'<p>{html.escape(text)}</p>')

    def notes(self, notes: Iterable[str]) -> None:
        """Add a list of sentences; nothing where there are none."""
        items = ''.join(f'<li>{html.escape(note)}</li>' for note in notes)
        if items:
            self._parts.append(f'<ul>{items}</ul>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; without a head, its first column names the rows."""
        top = ''.join(f'<th>{html.escape(text)}</th>' for text in head)
        body = ''.join(f'<tr>{"".join(map(_cell, row))}</tr>' for row in rows)
        self._parts.append(f'<table>{f"<thead><tr>{top}</tr></thead>" if top else ""}<tbody>{body}</tbody></table>')

    def image(self, image: Image, caption: str = '') -> None:
        """Add a picture, (H, W, 3) uint8 RGB."""
        line = f'<figcaption>{html.escape(caption)}</figcaption>' if caption else ''
        self._parts.append(f'<figure>{_img(image, caption)}{line}</figure>')

    def slider(self, before: Image, after: Image, captions: tuple[str, str]) -> None:
        """Add two pictures of one size on top of each other, with a slider that uncovers the second."""
        first, second = (html.escape(text) for text in captions)
        self._parts.append(
            f'<figure class="slider"><div>{_img(before, first)}{_img(after, second)}</div>'
            f'<input type="range" min="0" max="100" value="50" aria-label="from {first} to {second}">'
            f'<figcaption><span>{first}</span><span>{second}</span></figcaption></figure>'
        )

    def curves(
        self, title: str, curves: Mapping[str, Curve], axes: tuple[str, str]
    ) -> None:
        """Add curves, each a name with its x and y values, in one plot with the titles of its axes; NaN is a gap."""
        data = [
            {
                'type': 'scatter',
                'mode': 'lines+markers' if len(x) < 30 else 'lines',
                'name': name,
                'x': [*x],
                'y': [value if math.isfinite(value) else None for value in y],  # JSON knows no other numbers
            }
            for name, (x, y) in curves.items()
        ]
        layout = {
            'title': {'text': title, 'x': 0.01, 'font': {'size': 15}},
            'xaxis': {'title': {'text': axes[0]}},
            'yaxis': {'title': {'text': axes[1]}},
            'height': 320,
            'margin': {'l': 70, 'r': 20, 't': 40, 'b': 50},
            'showlegend': True,
            'legend': {'orientation': 'h', 'y': 1.12, 'x': 1, 'xanchor': 'right'},
        }
        self._parts.append(f'<div class="plot" id="plot{len(self._plots)}"></div>')
        self._plots.append({'data': data, 'layout': layout})

    def viewer(self, views: Sequence[View], unit: str = 'm') -> None:
        """Add frames to choose from: image and depth under a slider, and the cloud, which can be turned.

        Args:
            views: One or more.
            unit: What depth is in; '' where it is right up to an unknown factor only.

        Raises:
            ConfigError: If there is none.
        """
        if not views:
            raise ConfigError('a viewer needs at least one frame')
        self._parts.append(f'<div class="viewer" id="viewer{len(self._viewers)}"></div>')
        frames = [
            {'name': view.name, 'image': _uri(view.image), 'depth': _uri(view.depth), 'cloud': _packed(view.cloud)}
            for view in views
        ]
        self._viewers.append({'frames': frames, 'unit': unit})

    def cloud(self, cloud: Cloud, unit: str = 'm') -> None:
        """Add a cloud alone, given in an optical or a world frame with y down, which can be turned."""
        self._parts.append(f'<div class="viewer" id="viewer{len(self._viewers)}"></div>')
        self._viewers.append({'frames': [{'name': '', 'cloud': _packed(cloud)}], 'unit': unit})

    def write(self, path: Path) -> Path:
        """Write the page and return its path.

        Raises:
            ConfigError: If the name is none of a page, or plotly is needed and not installed.
            OSError: If it cannot be written.
        """
        if path.suffix.lower() not in {'.html', '.htm'}:
            raise ConfigError(f'{str(path)!r} is no name of a page: use .html')
        library = f'<script>{_plotly()}</script>' if self._plots or self._viewers else ''
        data = json.dumps({'plots': self._plots, 'viewers': self._viewers}).replace('</', '<\\/')
        title = html.escape(self._title)
        page = (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
            f'<body><h1>{title}</h1>\n' + '\n'.join(self._parts) + f'\n{library}'
            f'<script type="application/json" id="data">{data}</script><script>{SCRIPT}</script></body></html>\n'
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding='utf-8')
        return path


def _cell(value: object) -> str:
    """Return a cell of a table, numbers to the right."""
    text = str(value)
    is_number = bool(re.fullmatch(r'[-+]?[\d.,]+\s?%?|nan|-', text))
    return f'<td{" class=number" if is_number else ""}>{html.escape(text)}</td>'


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - only pages need it
    except ImportError:
        raise ConfigError('pages with curves and clouds need plotly, not installed: run `pip install plotly`') from None
    script: str = get_plotlyjs()
    return script


def _img(image: Image, caption: str) -> str:
    return f'<img src="{_uri(image)}" alt="{html.escape(caption)}">'


def _uri(image: Image) -> str:
    """Return an image as an address that holds it."""
    if image.shape[1] > WIDEST:
        size = WIDEST, round(image.shape[0] * WIDEST / image.shape[1])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return f'data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'


def _packed(cloud: Cloud) -> dict[str, Any]:
    """Return a cloud as the page has it: x right, y forward, z up, as float32 and bytes in base 64."""
    points, colours = cloud
    if len(points) > MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(points), MOST_POINTS, replace=False)
        points, colours = points[chosen], colours[chosen]
    axes = np.stack([points[:, 0], points[:, 2], -points[:, 1]]).astype('<f4')
    packed = {name: base64.b64encode(axis.tobytes()).decode() for name, axis in zip('xyz', axes, strict=True)}
    return {**packed, 'rgb': base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode(), 'count': len(points)}

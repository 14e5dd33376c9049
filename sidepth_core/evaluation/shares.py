"""Evaluations of one checkpoint by several tasks, each of its share of the drives, joined into one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from sidepth_core.data.share import Share
from sidepth_core.errors import DatasetError
from sidepth_core.evaluation.report import SCORES_CSV, SCORES_JSON


def share_folder(out: Path, share: Share) -> Path:
    """Return where a task writes what it has measured."""
    return out / f'shard-{share.number}-of-{share.count}'


def join_shares(out: Path, count: int, drives: int) -> list[int]:
    """Write scores.json and scores.csv of all drives, in the order in which they were named, once every share is there.

    Args:
        out: The folder that all tasks were given; each has written into its own folder there.
        count: How many tasks there are.
        drives: How many drives they share.

    Returns:
        The numbers of the tasks, from 1, that are not done; empty where the joined files are written.

    Raises:
        DatasetError: If shares were measured on another checkpoint or in another way.
    """
    shares = [share for share in (Share(number, count) for number in range(1, count + 1)) if share.of(drives)]
    found = {share: _scores(share_folder(out, share) / SCORES_JSON) for share in shares}
    missing = [share.number for share, scores in found.items() if len(scores.get('drives', ())) < len(share.of(drives))]
    if missing:
        return missing
    first, *others = shares
    about = {name: found[first][name] for name in ('checkpoint', 'settings')}
    for share in others:
        for name, value in about.items():
            if found[share][name] != value:
                raise DatasetError(
                    f'shards {first} and {share} in {str(out)!r} differ in {name}: {value!r} and '
                    f'{found[share][name]!r}. Evaluate them all in the same way, or name another folder'
                )
    ordered: list[Any] = [None] * drives
    rows: list[list[list[str]]] = [[]] * drives
    head: list[str] = []
    for share, scores in found.items():
        with (share_folder(out, share) / SCORES_CSV).open(newline='', encoding='utf-8') as file:
            head, *table = csv.reader(file)
        for place, drive in zip(share.of(drives), scores['drives'], strict=True):
            images = drive['depth']['images'] if drive['depth'] else 0
            ordered[place], rows[place], table = drive, table[:images], table[images:]
    document = {**about, 'drives': ordered}
    _replace(out / SCORES_JSON, json.dumps(document, indent=2, ensure_ascii=False) + '\n')
    partial_path = out / f'.{SCORES_CSV}.partial'
    with partial_path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([head, *(row for table in rows for row in table)])
    partial_path.replace(out / SCORES_CSV)
    return []


def _scores(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding='utf-8'))) if path.is_file() else {}


def _replace(path: Path, text: str) -> None:
    partial_path = path.with_name(f'.{path.name}.partial')
    partial_path.write_text(text, encoding='utf-8')
    partial_path.replace(path)

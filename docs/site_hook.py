"""Let pages link to files outside of docs/, as they do where the repository is browsed.

A Markdown file that a page of docs/ links to (training/README.md, say) becomes a page of the site, another file a
download, both below repository/. Their own links go on in the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
BELOW = 'repository'
LINK = re.compile(r'(!?\[[^\]]*\]\()([^)\s#]+)([^)]*\))')


def linked(page: Path) -> Iterator[Path]:
    """Yield the files outside of docs/ that a page links to."""
    for _, target, _ in LINK.findall(page.read_text(encoding='utf-8')):
        if '://' not in target and not target.startswith('mailto:'):
            path = Path(os.path.normpath(page.parent / unquote(target)))
            if path.is_file() and path.is_relative_to(ROOT) and not path.is_relative_to(DOCS):
                yield path


def place(path: Path) -> str:
    """Return where a file of the repository lies in the site, from its root."""
    return str(path.relative_to(DOCS) if path.is_relative_to(DOCS) else BELOW / path.relative_to(ROOT))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to, and what that links to."""
    from mkdocs.structure.files import File, InclusionLevel  # noqa: PLC0415 - mkdocs is there when it calls this

    waiting = [DOCS / file.src_uri for file in files.documentation_pages()]
    known: set[Path] = set()
    while waiting:
        for path in linked(waiting.pop()):
            if path not in known:
                known.add(path)
                level = InclusionLevel.NOT_IN_NAV if path.suffix == '.md' else InclusionLevel.INCLUDED
                files.append(File.generated(config, place(path), abs_src_path=str(path), inclusion=level))
                waiting += [path] if path.suffix == '.md' else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs names them
    """Point links that lead out of docs/ to where these files lie in the site."""
    source = Path(page.file.abs_src_path or DOCS / page.file.src_uri)
    here = Path(page.file.src_uri).parent

    def moved(match: re.Match[str]) -> str:
        start, target, end = match.groups()
        path = Path(os.path.normpath(source.parent / unquote(target)))
        is_ours = '://' not in target and path.is_file() and path.is_relative_to(ROOT)
        return f'{start}{os.path.relpath(place(path), here)}{end}' if is_ours else match.group()

    return LINK.sub(moved, markdown)

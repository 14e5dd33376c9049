"""The pages: every link leads somewhere, every page is in the site, and what is made from the code is current."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ('*.md', 'docs/**/*.md', 'training/*.md', 'sidepth_core/weights/*/*.md')
PAGES = sorted(page for pattern in FOLDERS for page in ROOT.glob(pattern))
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
FENCED = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return what #... can name in a page, as the site and as GitHub call it."""
    text = FENCED.sub('', page.read_text(encoding='utf-8'))
    headings = re.findall(r'^#{1,6} +(.+?)\s*$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCED.sub('', page.read_text(encoding='utf-8'))):
        if re.match(r'(https?|mailto):', link):
            continue
        target, _, anchor = link.partition('#')
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or not path.is_relative_to(ROOT):
            broken.append(link)
        elif anchor and path.suffix == '.md' and anchor not in anchors(path):
            broken.append(f'{link}: no such heading')
    assert broken == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r'[\w/]+\.md', str(yaml.safe_load((ROOT / 'mkdocs.yml').read_text(encoding='utf-8'))['nav']))
    there = [str(page.relative_to(ROOT / 'docs')) for page in ROOT.glob('docs/**/*.md')]
    assert sorted(listed) == sorted(there), 'nav in mkdocs.yml'


@pytest.fixture(scope='module')
def made() -> dict[Path, str]:
    """Return what docs/make_reference.py writes."""
    generator: dict[str, Any] = runpy.run_path(str(ROOT / 'docs' / 'make_reference.py'))
    pages: dict[Path, str] = generator['pages']()
    return pages


def test_what_is_made_from_the_code_is_current(made: dict[Path, str]) -> None:
    stale = [str(path) for path, text in made.items() if (ROOT / path).read_text(encoding='utf-8') != text]
    assert stale == [], '`make reference` writes them anew'


def test_every_parameter_command_and_setting_is_in_the_reference(made: dict[Path, str]) -> None:
    from sidepth_core.cli import COMMANDS  # noqa: PLC0415 - the parsers need it anyway
    from sidepth_ros.node.parameters import SPECS  # noqa: PLC0415

    node, commands = made[Path('docs/reference/node.md')], made[Path('docs/reference/commands.md')]
    assert [name for name in SPECS if f'| `{name}` |' not in node] == []
    assert [name for name in COMMANDS if f'\n## sidepth {name}\n' not in commands] == []
    assert '| `--every` N | `1` |' in commands
    assert '| `optimiser.batch_size` |' in made[Path('docs/reference/recipe.md')]
    assert '| `camera_name` |' in node


def test_launch_arguments_offer_what_the_node_takes() -> None:
    # The launch files' own tests, which need launch_ros, compare the lists themselves.
    pytest.importorskip('rclpy')
    from sidepth_ros.node.parameters import SPECS  # noqa: PLC0415 - only this test needs ROS

    rows = runpy.run_path(str(ROOT / 'docs' / 'make_reference.py'))['launch_rows'](ROOT / 'launch' / 'depth.launch.py')
    texts = {row[0].strip('`'): row[-1] for row in rows}
    for name in ('scale_source', 'engine', 'precision'):
        assert set(re.findall(r'`(\w+)`', texts[name])) == set(SPECS[name].choices), name

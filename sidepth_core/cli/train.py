"""`sidepth train`: a recipe in; a run folder with checkpoints, metrics and figures out."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from jsonargparse import ArgumentParser
from rich.console import Console

from sidepth_core.checkpoint import load_info
from sidepth_core.cli import terminal
from sidepth_core.cli.reports import add_run, summarise_run
from sidepth_core.evaluation.comparison import print_comparison
from sidepth_core.outputs import Page
from sidepth_core.training.fit import Run, fit
from sidepth_core.training.recipes import HEADING, has_option, put_first, read_arguments, recipe_parser, render_recipe
from sidepth_core.training.settings import Recipe

DESCRIPTION = """\
Train depth without labels on bags, videos, folders, KITTI or the synthetic world, or fine-tune a checkpoint on a drive
of your own:

  sidepth train --bag drive/ --checkpoint default --out runs/mine
  sidepth train --recipe kitti_640x192 --out runs/kitti
  sidepth train --recipe mine.yaml --steps 600 --print-recipe
  torchrun --nproc-per-node 4 --no-python sidepth train --recipe kitti_1024x320
"""
FINE_TUNING = 'finetune_bag'
"""The recipe that --bag takes when none is named."""
PRINT = '--print-recipe'
MOST_USED = (
    '--bag', '--recipe', '--checkpoint', '--out', '--steps', '--resume', '--device', '--model.width', '--model.height',
    '--optimiser.batch_size', '--data.workers', PRINT,
)  # fmt: skip
"""What the help shows before everything else."""


def main(argv: Sequence[str]) -> int:
    """Train, print where everything lies, and return the exit status."""
    recipe = recipe_of(argv)
    if has_option(argv, PRINT):
        sys.stdout.write(render_recipe(recipe, HEADING))
        return 0
    quieten()
    run = fit(recipe)
    if os.environ.get('RANK', '0') == '0':
        report(run, terminal.console())
    return 0


def recipe_of(argv: Sequence[str]) -> Recipe:
    """Return the recipe that the arguments ask for.

    Raises:
        ConfigError: If an option or a key is unknown (the nearest one is named), or a value cannot be.
    """
    return read_arguments(parser(), argv, without_recipe=FINE_TUNING if has_option(argv, '--bag') else None)


def parser() -> ArgumentParser:
    """Return the command's arguments: what most runs set first, then every setting of a recipe by its section."""
    result = recipe_parser(prog='sidepth train', description=DESCRIPTION, usage='sidepth train [OPTIONS]')
    result.add_argument(
        '--bag',
        action='append',
        default=[],
        metavar='SOURCE',
        help='recording to learn from beside those of the recipe: a rosbag2 or any other source; may be given again. '
        f'Without --recipe, the recipe is {FINE_TUNING}',
    )
    result.add_argument(
        PRINT, action='store_true', help='train nothing: print the recipe in full, each setting under its sentence'
    )
    put_first(result, 'what most runs set', MOST_USED)
    return result


def quieten() -> None:
    """Leave the terminal to the progress bar: Lightning's advertisements and tips about workers help nobody here."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    for about in ('.*does not have many workers.*', '.*in eval mode at the start of training.*', '.*LeafSpec.*'):
        warnings.filterwarnings('ignore', about)


def report(run: Run, console: Console) -> None:
    """Print what came out of a run, and where it lies."""
    best = run.folder / 'best'
    if run.comparison is not None:
        print_comparison(console, run.comparison)
        console.print(f'{run.folder / "comparison.png"}', markup=False)
    if best.is_dir():
        info = load_info(best)
        scores = ', '.join(f'{name} {value:.4f}' for name, value in info.metrics.items())
        console.print(f'best checkpoint: {best} ({scores})', markup=False)
        console.print(f'scale: {info.scale}, {info.scale_note}', markup=False)
    for note in run.notes:
        console.print(note, markup=False)
    page = Page(f'Training run {run.folder}')
    add_run(page, run.folder, summarise_run(run.folder), run.comparison)
    console.print(f'{page.write(run.folder / "report.html")}', markup=False)

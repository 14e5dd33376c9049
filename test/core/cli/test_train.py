from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidepth_core.cli import main
from sidepth_core.cli.train import MOST_USED, PRINT, recipe_of
from sidepth_core.errors import ConfigError
from sidepth_core.training.recipes import load_recipe


def test_a_bag_alone_is_fine_tuned_with_the_recipe_for_it() -> None:
    recipe = recipe_of(['--bag', 'drive', '--checkpoint', 'runs/old', '--out', 'runs/new'])
    assert recipe.data.sources == ('drive',)
    assert (recipe.checkpoint, recipe.out) == ('runs/old', 'runs/new')
    assert recipe.data.test_share > 0
    assert recipe.model.freeze_batch_norm


def test_bags_are_added_to_the_sources_of_a_recipe() -> None:
    recipe = recipe_of(['--recipe=debug', '--bag=one', '--bag', 'two?weight=3'])
    assert recipe.data.sources[0].startswith('synthetic:')
    assert recipe.data.sources[1:] == ('one', 'two?weight=3')


def test_arguments_override_the_recipe() -> None:
    recipe = recipe_of(['--recipe', 'debug', '--optimiser.batch_size', '7', '--model.width=128'])
    assert (recipe.optimiser.batch_size, recipe.model.width, recipe.model.height) == (7, 128, 64)


@pytest.mark.parametrize('recipe', [['--recipe', 'debug'], ['--recipe=debug']])
def test_options_win_wherever_they_stand(recipe: list[str]) -> None:
    before, after = recipe_of(['--steps', '7', *recipe]), recipe_of([*recipe, '--steps=7'])
    assert before == after
    assert (before.steps, before.model.width) == (7, 96)


@pytest.mark.parametrize(
    ('arguments', 'resumes'),
    [(['--resume'], True), (['--resume', '--steps', '3'], True), (['--resume', 'false'], False)],
)
def test_a_switch_may_stand_alone(arguments: list[str], resumes: bool) -> None:
    assert recipe_of(['--recipe', 'debug', *arguments]).resume is resumes


def test_two_recipes_are_refused() -> None:
    with pytest.raises(ConfigError, match='--recipe is given 2 times: name one'):
        recipe_of(['--recipe', 'debug', '--steps', '1', '--recipe', 'synthetic'])


def test_a_recipe_is_printed_in_full_with_what_the_options_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['train', '--steps', '7', '--recipe', 'robot_indoor', '--bag', 'drive', '--out', str(tmp_path / 'run')]
    assert main([*arguments, '--print-recipe']) == 0
    path = tmp_path / 'printed.yaml'
    path.write_text(capsys.readouterr().out)
    assert load_recipe(path) == recipe_of(arguments[1:])
    assert '# Steps of the optimiser in the whole run.\nsteps: 7\n' in path.read_text()
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('arguments', 'hint'),
    [
        (['--optimiser.learning_rte', '1'], "did you mean '--optimiser.learning_rate'"),
        (['--recipe', 'debug', '--bags', 'x'], "did you mean '--bag'"),
        (['--recipe', 'debug', '--steps', 'many'], 'steps'),
    ],
)
def test_a_wrong_option_names_the_nearest_one(arguments: list[str], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        recipe_of(arguments)


def test_help_lists_every_field_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        main(['train', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    width = '--model.width WIDTH Width that the depth network is trained at, pixels'
    for words in ('--bag SOURCE', width, '--watch.patience'):
        assert words in text


def test_help_begins_with_the_dozen_that_most_runs_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        main(['train', '--help'])
    text = capsys.readouterr().out
    first = text.partition('what most runs set:')[2]
    shown = re.findall(r'^  (?:-h, )?(--[\w.]+)', first, re.MULTILINE)
    assert tuple(option.replace('--print', PRINT) for option in shown[: len(MOST_USED)]) == MOST_USED
    assert len(shown) == len(set(shown))
    assert 'CONFIG' not in text


def test_a_run_without_sources_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['train', '--out', str(tmp_path / 'run')]) == 2
    assert 'names nothing to learn from' in capsys.readouterr().err

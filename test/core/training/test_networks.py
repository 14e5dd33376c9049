"""What the networks of a run start from."""

from __future__ import annotations

import pytest

from sidepth_core.training.networks import Average, make_networks
from sidepth_core.training.settings import ObjectiveSettings, Recipe


@pytest.mark.parametrize(
    ('checkpoint', 'train_pose', 'known'), [('base', False, False), ('base', True, True), ('small', False, True)]
)
def test_a_pose_network_that_never_learned_is_known_as_such(checkpoint: str, train_pose: bool, known: bool) -> None:
    objective = ObjectiveSettings(two_view_pose=1.0, train_pose=train_pose)
    networks = make_networks(Recipe(checkpoint=checkpoint, objective=objective))
    assert networks.knows_motion is known
    assert Average(networks, 0.9).networks.knows_motion is known


@pytest.mark.parametrize(('supervised_steps', 'known'), [(20, False), (19, True)])
def test_where_all_steps_are_supervised_no_pose_is_learned(supervised_steps: int, known: bool) -> None:
    objective = ObjectiveSettings(depth=1.0, supervised_steps=supervised_steps)
    assert make_networks(Recipe(steps=20, checkpoint='base', objective=objective)).knows_motion is known

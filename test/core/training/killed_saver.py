"""Processes that are killed while they save a run's state and its checkpoint `last`, again and again.

`python killed_saver.py FOLDER COUNT SEED` prints a line of JSON for each: when it was killed, and what was found then.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint, save_checkpoint
from sidepth_core.models import DepthNet
from sidepth_core.training.callbacks import RESUME_FILE, SaveState


def save(folder: Path, network: DepthNet, number: int) -> None:
    """Save as training does after a validation; every number in a save says which one it was."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(number)
    checkpoint = Checkpoint(network, None, CheckpointInfo('tf_efficientnet_lite0', 64, 32, metrics={'number': number}))
    state = {'number': number, 'state': network.state_dict()}
    saved = SaveState(folder, 1, lambda _: save_checkpoint(folder / 'last', checkpoint))
    trainer = SimpleNamespace(is_global_zero=True, save_checkpoint=lambda path: torch.save(state, path))
    saved.on_validation_end(trainer, trainer)


def found(folder: Path) -> tuple[int, int]:
    """Return which save the state and the checkpoint are of.

    Raises:
        AssertionError: If one of them holds numbers of two saves.
    """
    state = torch.load(folder / RESUME_FILE, weights_only=True)
    loaded = load_checkpoint(folder / 'last', pose=False)
    number = loaded.info.metrics['number']
    assert all(bool((parameter == number).all()) for parameter in loaded.depth_net.parameters())
    assert all(bool((value == state['number']).all()) for name, value in state['state'].items() if 'weight' in name)
    return int(state['number']), int(number)


def main(folder: Path, count: int, seed: int) -> None:
    """Save in peace once, then kill at moments up to twice as long after the start as that took."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    network = DepthNet('tf_efficientnet_lite0').eval()
    (folder / 'last').mkdir(parents=True)
    start = time.monotonic()
    save(folder, network, 1)
    longest_s = 2 * (time.monotonic() - start)
    number = 1
    for turn in range(count):
        child = os.fork()
        if not child:
            for following in itertools.count(number + 1):
                save(folder, network, following)
        after_s = chance.uniform(0, longest_s)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state, last = found(folder)
        number = max(state, last)
        print(json.dumps({'turn': turn, 'after_s': after_s, 'state': state, 'last': last}), flush=True)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

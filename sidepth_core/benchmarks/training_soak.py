"""Ten thousand small training steps: `python -m sidepth_core.benchmarks.training_soak`, which is part of `make soak`.

A whole `sidepth train` with its logs, validations and saved states, in a process and a thread of its own. Its memory
and the time of its steps must be at the end what they were after the warm-up. The networks are the smallest of timm's:
what is tried is the trainer around them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sidepth_core.benchmarks.endurance import Curve, Verdict, judge, resident_mib, write
from sidepth_core.errors import SidepthError
from sidepth_core.training.metrics import read_rows
from sidepth_core.training.run_folder import METRICS_FILE

SIDEPTH = 'import sys; from sidepth_core.cli import main; sys.exit(main(sys.argv[1:]))'
BATCH = 1
RECIPE = """\
out: {folder}/run
steps: {steps}
device: cpu
precision: float32
licence: Apache-2.0
data:
  cache: {folder}/cache
  sources: ['synthetic:street?seed=3&frames=16&width=96&height=64&sensor=0']
  validation_share: 0.2
  validation_clips: 2
  workers: 0
  stride: 1
model:
  backbone: test_efficientnet
  pose_backbone: test_efficientnet
  decoder_channels: [0, 16, 16, 24, 32]
  width: 64
  height: 32
  pose_width: 64
  pose_height: 32
objective: {{depth: 0.1}}
optimiser: {{batch_size: {batch}, warmup_steps: 100}}
watch: {{log_every: 1, validate_every: 1000, figure_every: 1000, save_every: 500}}
"""
WARM_UP_SHARE = 1 / 6


def soak(steps: int, out: Path) -> Verdict:
    """Run the soak, write what it measured, and return the verdict.

    Raises:
        SidepthError: If the run fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = out / 'training_soak.log'
    with tempfile.TemporaryDirectory() as folder, log.open('w', encoding='utf-8') as output:
        recipe = Path(folder, 'soak.yaml')
        recipe.write_text(RECIPE.format(folder=folder, steps=steps, batch=BATCH), encoding='utf-8')
        command = [sys.executable, '-c', SIDEPTH, 'train', '--recipe', str(recipe)]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)  # noqa: S603 - ours
        try:
            memory = watch(process)
        finally:
            process.kill()
        if process.returncode:
            raise SidepthError(f'the training ended with status {process.returncode}, see {log}')
        durations = step_durations(Path(folder, 'run', METRICS_FILE))
    return report(memory, durations, steps, out)


def watch(process: subprocess.Popen[bytes]) -> Curve:
    """Return the memory of a process, second by second, until it ends."""
    memory, start = Curve(), time.monotonic()
    while process.poll() is None:
        try:
            memory.add(time.monotonic() - start, resident_mib(process.pid))
        except ProcessLookupError:
            break
        time.sleep(1.0)
    process.wait()
    return memory


def step_durations(table: Path) -> Curve:
    """Return how long each step took, milliseconds, over the time of the steps before it."""
    durations, elapsed_s = Curve(), 0.0
    for _, name, value in read_rows(table):
        if name == 'speed/clips_per_s':
            elapsed_s += BATCH / float(value)
            durations.add(elapsed_s, 1e3 * BATCH / float(value))
    return durations


def report(memory: Curve, durations: Curve, steps: int, out: Path) -> Verdict:
    """Write all that was measured, and return the verdict on it."""
    # Memory is judged by the process' time, steps by their own: the start and the validations lie between.
    window_s = min(60.0, durations.times_s[-1] / 4)
    ends_s = memory.times_s[-1], durations.times_s[-1]
    of_memory, of_steps = (judge(memory, durations, WARM_UP_SHARE * end, end, window_s) for end in ends_s)
    faults = [fault for fault in of_memory.faults if fault.startswith('memory')]
    faults += [fault for fault in of_steps.faults if not fault.startswith('memory')]
    if len(durations.values) != steps:
        faults.append(f'{len(durations.values)} steps were logged, {steps} were asked for')
    verdict = Verdict(of_memory.memory_growth, of_steps.tail_change, faults)
    curves = {
        'memory, MiB': memory,
        **{f'step p{share}, ms': durations.percentiles(window_s, ends_s[1], share) for share in (50, 99)},
    }
    facts = {'steps': len(durations.values), 'window, s': window_s, 'seconds': ends_s[0]}
    panels = [('MiB', ['memory, MiB']), ('ms', ['step p50, ms', 'step p99, ms'])]
    write(out, 'training_soak', curves, verdict, facts, panels)
    return verdict


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(
        prog='python -m sidepth_core.benchmarks.training_soak',
        description='Train tiny networks for many steps, and judge whether the run ends as it began.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    commands.add_argument('--steps', type=int, default=10_000, help='how many')
    commands.add_argument('--out', type=Path, default=Path('out/soak'), help='folder for JSON, picture and log')
    return commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak; the status is 1 where something was not as promised."""
    chosen = parser().parse_args(argv)
    verdict = soak(chosen.steps, chosen.out)
    print(f'memory {verdict.memory_growth:+.2%}, p99 {verdict.tail_change:+.1%}')  # noqa: T201 - a command
    for fault in verdict.faults:
        print(f'not as promised: {fault}')  # noqa: T201 - as above
    return 1 if verdict.faults else 0


if __name__ == '__main__':
    sys.exit(main())

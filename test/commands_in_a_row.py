"""Runs commands of `sidepth` one after another: `python commands_in_a_row.py JSON` prints what each did, a line each.

A test starts it where commands have to run in a process of their own, so that they are imported once.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

from sidepth_core.cli import main

if __name__ == '__main__':
    rows = []
    for arguments in json.loads(sys.argv[1]):
        said = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            try:
                status = main(arguments)
            except BaseException as error:  # noqa: BLE001 - a traceback is what the test looks for
                status = repr(error)
        rows.append({'command': ' '.join(arguments), 'status': status, 'said': said.getvalue()})
    print(json.dumps(rows))

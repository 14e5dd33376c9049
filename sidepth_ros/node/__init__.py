"""The depth node: its executable, parameters, cameras, worker thread, outputs and diagnostics."""

"""The small executables around the node: camera player, motion gate, camera snapshot, checkpoint adoption, recorder."""

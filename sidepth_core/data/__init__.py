"""Where images come from and how training takes them: a drive's frames, calibration, motion; a room for each kind."""

"""Messages as the node takes and sends them: arrays in and out, stamps, calibrations, pairing, quality of service."""

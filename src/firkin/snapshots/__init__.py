"""File trees made of layers: the snapshotter contract, its drivers, and mounting what they give."""

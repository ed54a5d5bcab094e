"""Log drivers: where a container's output goes."""

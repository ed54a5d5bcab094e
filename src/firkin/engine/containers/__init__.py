"""Containers: their life from create to remove, one module per verb."""

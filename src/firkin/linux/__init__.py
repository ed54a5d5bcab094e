"""Thin, typed access to what Linux offers: no policy, no knowledge of containers."""

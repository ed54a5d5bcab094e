"""The engine's own log drivers."""

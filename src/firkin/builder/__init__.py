"""Builds: from a Dockerfile and its files to an image."""

"""The Dockerfile language: no file is opened and nothing runs in here."""

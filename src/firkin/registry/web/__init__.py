"""The web page: what is stored, for people."""

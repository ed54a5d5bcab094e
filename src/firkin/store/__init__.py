"""The engine's metadata: an SQLite database and one repository per kind of object."""

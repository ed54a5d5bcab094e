"""The Engine API client: one module per noun over a small HTTP core.

``transport`` opens byte streams, ``http`` speaks HTTP over one of them, ``api`` adds versions,
JSON and errors, and the nouns (``containers``, ``exec``, ...) are plain functions that take an
``api.Client`` first. Nothing here imports asyncio or anything that only Linux has.
"""

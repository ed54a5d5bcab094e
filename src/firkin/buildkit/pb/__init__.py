"""Messages of BuildKit's protocol, generated from the .proto files beside them.

``scripts/protos`` generates them anew.
"""

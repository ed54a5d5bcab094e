"""Domain types and the Engine API's wire types, one module per noun.

Wire types are ``msgspec`` Structs that carry the field names of the Engine API description; they
are decoded with :func:`firkin.types.base.decode`, which is as lenient about ``null`` as the
clients in the field expect and as strict about everything else as msgspec is.
"""

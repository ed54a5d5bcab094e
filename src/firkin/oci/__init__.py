"""From what the API asks and what the host is to a runtime-spec document; pure functions.

``spec.build`` is the entry point. Everything it needs to know about the host comes in as a value or
as a lookup function, so that a spec can be computed, compared and tested anywhere. The one module
that reads the host is ``hostdevs``.
"""

"""The classes of error that Firkin knows.

Every error that leaves a component is one of these, whatever raised it at first. The class says
what went wrong in a way the caller can act on; the message says what was asked, what is wrong and
what to do. HTTP statuses are chosen from the class in one place, ``firkin.api.status``.

::

    FirkinError
    ├── InvalidParameter     the request is malformed or asks for the impossible      400
    ├── Unauthorized         credentials are missing or wrong                         401
    ├── Forbidden            understood, but never allowed                            403
    ├── NotFound             the named object does not exist                          404
    ├── Conflict             the object's present state does not allow it             409
    ├── NotModified          already so; nothing was done                             304
    ├── NotImplemented       a part of the API that this engine does not have         501
    ├── Unavailable          a dependency does not answer now; later it may           503
    └── System               the engine or its host failed                            500
        ├── Cancelled        the client went away or the engine is stopping           500
        └── InsufficientStorage  there is no room for it                              507
"""

from __future__ import annotations


class FirkinError(Exception):
    """Base of all errors raised on purpose. ``str(error)`` is meant for the user."""


class InvalidParameter(FirkinError):
    """The request is malformed, contradicts itself or asks for something impossible."""


class Unauthorized(FirkinError):
    """Credentials are missing, expired or wrong."""


class Forbidden(FirkinError):
    """The request is understood and refused, whatever the state."""


class NotFound(FirkinError):
    """The named object does not exist."""


class Conflict(FirkinError):
    """The request is valid but the object's present state, or another object, forbids it."""


class NotModified(FirkinError):
    """The object already is as requested; nothing was changed."""


class NotImplemented(FirkinError):
    """The Engine API has this operation or option, this engine has not."""


class Unavailable(FirkinError):
    """Something this engine depends on does not answer at the moment."""


class System(FirkinError):
    """The engine, its host or a helper program failed."""


class Cancelled(System):
    """The operation was given up because its client left or the engine is stopping."""


class InsufficientStorage(System):
    """There is no room for it: a quota, or the reserve of the disk, would be crossed."""

"""The one error of this package."""

from __future__ import annotations

from firkin import errdefs


class TemplateError(errdefs.InvalidParameter):
    """A template is malformed, or does not fit the value that it is executed on."""

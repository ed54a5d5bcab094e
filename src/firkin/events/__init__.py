"""The event exchange: what happened lately, and who wants to know what happens next."""

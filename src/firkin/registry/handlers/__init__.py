"""What each endpoint means. A handler is ``async f(call) -> response``."""

"""The kinds of network, one driver each."""

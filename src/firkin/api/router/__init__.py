"""The routes, one module per noun of the Engine API."""

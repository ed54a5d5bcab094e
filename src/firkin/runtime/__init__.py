"""Running containers: the OCI runtime that makes them and the monitor that holds them."""

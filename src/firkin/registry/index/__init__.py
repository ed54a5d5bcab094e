"""What the index answers and changes: functions of a connection, run by ``firkin.registry.db``."""

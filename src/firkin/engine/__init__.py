"""What each verb of the Engine API means."""

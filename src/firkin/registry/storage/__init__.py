"""Where the bytes of blobs are: a Protocol and its drivers."""

"""Images: loading, saving, importing, committing, naming and removing them."""

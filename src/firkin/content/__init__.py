"""Content-addressed blobs: layers, manifests and configs by their digest."""

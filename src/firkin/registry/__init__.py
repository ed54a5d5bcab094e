"""The registry server: an OCI distribution service of its own, beside the engine.

``python -m firkin.registry serve`` (or ``firkin registry serve``) starts it. The parts, from the
outside in::

    serve       sockets, worker processes, signals
    app         one HTTP request: route, rights, handler, error body, log line
    handlers/   what each endpoint of the distribution-spec means
    access/     who is asking and what they may do
    core        one registry: its index, its storage, its uploads
    index/      SQLite: repositories, tags, manifests, which blobs a repository may read
    storage/    the blobs' bytes: a Protocol, local disk, S3

The index is the truth about what exists; the storage holds bytes by digest and knows nothing else.
Every blob is verified before the storage gets it, and no answer names a blob that it does not have.
"""

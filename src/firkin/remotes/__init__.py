"""The client side of the distribution-spec: finding registries, logging in, fetching, pushing.

::

    config      what daemon.json says of registries
    resolver    from a repository to the endpoints that may have it: mirrors first, then its own
    challenge   WWW-Authenticate, parsed
    auth        credentials, and tokens for them
    guard       where a registry may send this host: redirects
    transport   requests: TLS, proxies, authorization, redirects, back-off, errors in words
    fetcher     manifests and blobs in, verified and resumed
    pusher      blobs and manifests out
    search      the Docker index's search

Nothing here knows images or the file system beyond certificates: bytes come and go as streams.
"""

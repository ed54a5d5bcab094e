"""The resolver: containers' name server at 127.0.0.11, in a process of its own.

One per engine, started with the first network that has names. It outlives the engine, so that
containers find each other while the engine is busy, is upgraded or has been killed::

    engine ── nameservice ──(Unix socket, JSON lines)──► resolver
                                                          │ one UDP and one TCP socket
                                                          ▼ in every container's namespace
                                                        containers

    zone       which answer the containers' names give (pure)
    answers    the same as DNS messages (dnslib), and what must be asked elsewhere
    inside     sockets and packet rewriting in a container's namespace
    forward    asking other name servers
    server     the process: sockets, the answers' cache, the engine's orders
    protocol   what the engine and the process say to each other

It ends by itself when no engine is connected and no container is left.
"""

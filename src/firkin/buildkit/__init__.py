"""BuildKit's protocol, as ``docker buildx build`` speaks it to an engine.

A client opens two hijacked connections that carry HTTP/2:

* ``POST /grpc``: the client calls us: ``Control`` (Solve, Status, ...) and ``LLBBridge``, by which
  a client that is the frontend itself asks for the result of a Dockerfile.
* ``POST /session``: we call the client: its files, credentials, secrets, ssh agents, and the
  places for what a build exports. A session has an id, which Solve names.

A build, for a client that drives it through the bridge (buildx)::

    Control.Solve(ref, session, exporters) ─────────────────────────┐ waits
    LLBBridge.Ping → Solve(dockerfile.v0, options) → Return(result) │
                          │  our builder works, its progress goes   │
    Control.Status(ref) ◀─┘  to every Status stream of the ref      ▼
                                         exporters run, Solve answers

or ``Control.Solve(frontend = dockerfile.v0)`` alone. Messages are in ``pb``; services in
``control`` and ``bridge``; what we ask of a client in ``session`` and ``filesync``.
"""

"""Networks: which there are, and how a container gets its place on them.

::

    controller      what the engine calls: join, attach, detach, release; reconciles at start
    catalog         making, finding and removing networks;  settings: what may be asked for (pure)
    driver          the Protocol of one network; drivers/{bridge,above,host,none} carry it out
    members         the containers with a place, and the steps of joins and leaves
    places          a container's endpoints, its way out, its published ports
    publishing      which endpoint is the way out (pure);  exposure: who gets in (pure)
    ipam            which address a container gets, which subnet a network gets (pure)
    addresses       the same against what the host uses
    sandbox         a container's network namespace and its interfaces;  stock: ready-made ones
    portmapper      host ports, each held by a bound socket
    ruleset         the firewall as text (pure);  firewall: the same in the kernel
    nameservice     the engine's side of the resolver, which is a process of its own
    relayservice    the engine's side of the relay, which is another;  helper: starting both
"""

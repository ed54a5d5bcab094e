"""Networks: which there are, and how a container gets its place on one.

::

    controller      what the engine calls: connect, release, list, inspect; reconciles at start
    driver          the Protocol of one network; drivers/{bridge,host,none} carry it out
    ipam            which address a container gets, which subnet a network gets (pure)
    endpoint        a container's network namespace and veth pair; the pool of ready-made ones
    portmapper      host ports, each held by a bound socket
    ruleset         the firewall as text (pure);  firewall: the same in the kernel
"""

"""The relay: a process that carries connections from host ports to containers where the kernel
translates no addresses, from ``::1`` and from IPv6 to IPv4.

::

    protocol     what the engine and the process tell each other
    poller       readiness and timers, over epoll
    streams      TCP: bytes go from socket to socket inside the kernel
    datagrams    UDP: one socket for each sender
    server       the process

The process imports nothing but the interpreter's own C modules: it takes a third of the memory that
asyncio would need, and one is running on most hosts that publish a port.
"""

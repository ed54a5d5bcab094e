"""The ``none`` network: a namespace with a loopback interface and nothing else."""

from __future__ import annotations

from firkin.network.drivers import host


class NoneDriver(host.HostDriver):
    """The Driver of the network ``none``."""

    namespaced = True

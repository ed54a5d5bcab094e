"""Plug-ins of the engine: processes of their own that speak Docker's plug-in protocol.

A plug-in registers itself by a file (``discovery``), says at a handshake which subsystems it
implements, and is then called by small JSON messages over HTTP (``plugin``). Who wants one asks the
engine's one :class:`plugin.Registry`::

    found = await registry.get("sshfs", "VolumeDriver")
    answer = await found.call("VolumeDriver.Get", {"Name": name}, Answer)

Code in a worker thread says ``found.call_from_thread(...)`` instead.
"""

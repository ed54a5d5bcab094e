"""What containers write: kept in a spool that rotates, and brought to where it is wanted.

The monitor of a container writes each line with its time and stream to a file, the *spool*; nobody
else is between the container and the disk, so a container never waits for a log target, and an
engine that is killed misses nothing. A *driver* says what becomes of it:

* ``local``: the spool is the log; the engine only rotates it.
* ``json-file``, ``syslog``, ``fluentd``, ``gelf``, ``journald`` and drivers of other packages: a
  *forwarder* reads the spool behind the monitor and hands its entries to the driver's logger. How
  far it has come is on disk, so a new engine goes on there.
* ``none``: nothing is written.
"""

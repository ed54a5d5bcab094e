"""Conformance suites for drivers, to be run by their authors.

Each suite is a class whose methods are tests for pytest. An author derives a class from it and
overrides what makes a driver::

    from firkin.conformance import volumes

    class TestMyStore(volumes.DriverSuite):
        def make(self, directory):
            return MyStore(directory)

Firkin's own drivers run the same suites.
"""

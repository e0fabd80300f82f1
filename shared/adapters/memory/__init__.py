"""Adapters in memory: every port, for tests of services. They pass the same contract suites."""

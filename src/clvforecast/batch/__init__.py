"""Nightly scoring: the tables of a run, and the databases that they are read from and published to."""

"""Sweeps: many runs that differ on axes, chosen by a sweeper, run through any launcher, compared at the end.

The members stand on disk, each a run of its own: a sweep that was killed is read from there and goes on.
"""

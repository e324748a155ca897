"""How fast, and how much memory: the package at a thousand to ten million accounts, and other packages beside it.

``python -m speed growth`` times the package's stages, ``python -m speed peers`` other packages on the same data, and ``python -m
speed report`` renders the tables and the plot from `results`, so that no figure is copied by hand.
"""

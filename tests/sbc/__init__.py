"""Simulation-based calibration: parameters from the priors, events from them, a fit, a forecast, and the truth's rank in both.

Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv:1804.06788; ranks of the log likelihood after Modrak, Moon,
Kim, Buerkner, Huurre, Faltejskova, Gelman and Vehtari (2023), doi:10.1214/23-BA1404. ``make calibrate`` runs it.
"""

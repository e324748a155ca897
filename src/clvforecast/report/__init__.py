"""Forecasts for people: plots, tables on the terminal, files."""

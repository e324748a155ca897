"""Recurring revenue as finance reports it: annual recurring revenue (ARR), its bridge from period to period, and retention."""

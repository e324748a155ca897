"""Broken files, made from code: each name says what is wrong, each case what must come of it."""

"""The colours of all pictures: ranges by their probability, medians, what was, and what happened."""

BANDS = {0.95: "#d6e4f2", 0.80: "#a9c8e6", 0.50: "#6fa3d4"}
MEDIAN = "#1f4e79"
PAST = "#8a8f98"
ACTUAL = "#c8501e"
GAIN, LOSS = "#6fa3d4", "#e08a4f"
"""What adds and what takes away: blue and orange, told apart by the colour-blind, and lighter and darker in grey."""
SERIES = ("#1f4e79", "#c8501e", "#4a8f7f", "#8f6bb3", "#b8860b", "#5f6670")
"""Lines side by side; each has a marker of its own too."""
MARKERS = ("o", "s", "^", "D", "v", "P")

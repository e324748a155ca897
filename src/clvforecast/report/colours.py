"""The colours of all pictures: ranges by their probability, medians, what was, and what happened."""

BANDS = {0.95: "#d6e4f2", 0.80: "#a9c8e6", 0.50: "#6fa3d4"}
MEDIAN = "#1f4e79"
PAST = "#8a8f98"
ACTUAL = "#c8501e"

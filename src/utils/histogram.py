"""Bins of logged histograms, which their writers and their readers share."""

# Of ComaDICE's w* (metrics weight_bin_1, ...): 0 alone, then up to each edge, then all above the last one.
WEIGHT_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)

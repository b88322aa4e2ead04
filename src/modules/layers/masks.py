"""How unavailable actions are left out, for controllers, densities and learners alike."""

# Score of an unavailable action; finite, for rows without any action (padding) must not make a softmax NaN.
FORBIDDEN = -1e10

"""The mask of unavailable actions, for controllers, densities and learners."""

# Score of an unavailable action. It is finite, so that a softmax over padding (no action available) is not NaN.
FORBIDDEN = -1e10

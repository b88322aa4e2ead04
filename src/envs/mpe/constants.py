"""Constants of OMAR's Cooperative Navigation (Pan et al., 2022), shared by the mpe2 scenario and the vectorised one."""

N_AGENTS = 3
N_LANDMARKS = 3
AGENT_SIZE = 0.15
LANDMARK_SIZE = 0.05
START_RANGE = 1.0  # positions start uniformly in [-1, 1] per axis
GAIN = 5.0  # force per unit of action
DT = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
MAX_COVER_REWARD = 10.0  # a landmark pays 1 / (distance of the nearest agent), at most this
COLLISION_PENALTY = 5.0
TIME_LIMIT = 25

# Unit force of each discrete action, in mpe2's order: stay, -x, +x, -y, +y.
MOVES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))

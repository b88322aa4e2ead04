"""Reference returns of robots, measured here over 100 episodes: uniform actions, and trained policies where there are.

They do not depend on what agents see. `python benchmarks/robot_references.py` measures uniform actions anew. The
experts are the bundled policies/expert, without noise.
"""

from dataclasses import dataclass

MUJOCO, GYMNASIUM = "4.0.0", "1.4.0"
# The robots' files and their SHA-256.
FILES = {
    "Ant": ("ant.xml", "cd5f83ef0ea35b0969e65d360c5bacd5b74ccaef6b27e4433b5168c605e3e2be"),
    "HalfCheetah": ("half_cheetah.xml", "11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494"),
    "Hopper": ("hopper.xml", "3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e"),
    "Humanoid": ("humanoid.xml", "85816f372c826d2094b4a598918233bd9c5843b2439119eece2733bdc2e0d073"),
    "HumanoidStandup": ("humanoidstandup.xml", "9f72a3c4ef956d0d8b1fb555a6ae1a5c22334c5c58cf814ef987ea4d3880e8fc"),
    "Pusher": ("pusher_v5.xml", "3c9a717f6d2cecd555ab9b78694dba71019fa233230c68c8197ebb07d6713879"),
    "Reacher": ("reacher.xml", "3fabc64fc738326485a8231a9a649f784090a0c3d8215f8d2ccd6038b8e60cc4"),
    "Swimmer": ("swimmer.xml", "25b0d46bf5522920fea6a579353aee39d391ad9e2a0574b53f83704c11b21b12"),
    "Walker2d": ("walker2d_v5.xml", "6bed53a6cc3ca73c4fe8ac3486d3b4228927264a6454f4ef16d3eed3c58bc09d"),
}


@dataclass(frozen=True)
class Measured:
    """Mean return and its standard error, of uniform actions and of an expert; None where none was trained."""

    random: float
    random_error: float
    expert: float | None = None
    expert_error: float | None = None


# By robot and partition. Uniform actions are the same for every partition; what differs is chance.
MEASURED = {
    ("Ant", "2x4"): Measured(-42.9, 7.9, 1991.8, 46.7),
    ("Ant", "2x4d"): Measured(-56.6, 8.3),
    ("Ant", "4x2"): Measured(-41.1, 6.8),
    ("HalfCheetah", "2x3"): Measured(-276.9, 7.4, 3578.0, 36.0),
    ("HalfCheetah", "6x1"): Measured(-276.9, 7.4, 4678.8, 6.2),
    ("Hopper", "3x1"): Measured(16.0, 1.2, 3269.6, 0.6),
    ("Humanoid", "9|8"): Measured(117.4, 3.3),
    ("HumanoidStandup", "9|8"): Measured(33846.3, 275.7),
    ("Pusher", "3p"): Measured(-149.1, 0.7),
    ("Reacher", "2x1"): Measured(-43.0, 0.4),
    ("Swimmer", "2x1"): Measured(0.1, 1.0),
    ("Walker2d", "2x3"): Measured(2.0, 0.7),
}


def simulator_of(key: str) -> dict[str, str]:
    """The simulator in which a robot's references were measured, as `envs.mamujoco.robots.fingerprint` names one."""
    name, digest = FILES[key]
    return {"mujoco": MUJOCO, "gymnasium": GYMNASIUM, "robot": name, "robot_sha256": digest}

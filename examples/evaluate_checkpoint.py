"""Train briefly on the bundled data, then score the checkpoint: both through the command line.

    python examples/evaluate_checkpoint.py [FOLDER]

50 updates are far too few to learn much; the first command of the README takes 2 000.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
parser = argparse.ArgumentParser(description="Train briefly on the bundled data, then score the checkpoint.")
parser.add_argument("folder", nargs="?", default="results/short", help="where runs and checkpoints go (%(default)s)")
FOLDER = Path(parser.parse_args().folder).resolve()
MAIN = [sys.executable, str(ROOT / "src" / "main.py")]
TRAIN = ["--config=spacql", "--env-config=mpe", "with", f"local_results_path={FOLDER}"]


def run(*words: str) -> None:
    """Run main.py, whose last line says what is wrong where it ends badly; then this script ends too."""
    if status := subprocess.run([*MAIN, *words]).returncode:
        sys.exit(status)


def newest(pattern: str) -> Path:
    """The newest file or folder under FOLDER that fits the pattern."""
    return max(FOLDER.glob(pattern), key=lambda path: path.stat().st_mtime)


# 1. Train: 50 updates instead of the algorithm file's 2 000, one evaluation before and one after.
run(*TRAIN, "t_max=50", "test_interval=50", "batch_size=512", "seed=0")
checkpoint = newest("models/*")

# 2. Evaluate what was saved: 1 000 fixed episodes, as in every evaluation of Cooperative Navigation. The run describes
# itself, so its configuration need not be repeated.
run("with", "evaluate=True", f"checkpoint_path={checkpoint}")

# 3. Read the score from the Sacred record of the evaluation.
metrics = json.loads(newest("sacred/spacql/simple_spread/[0-9]*/metrics.json").read_text())
score = metrics["test_normalised_score"]["values"][-1]
print(f"checkpoint {checkpoint}: normalised score {score:.1f} (0: random policies, 100: expert ones)")

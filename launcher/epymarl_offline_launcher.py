"""The console command `epymarl-offline`: this checkout's `src/main.py`, from any directory."""

import runpy
import sys
from pathlib import Path

MAIN = Path(__file__).resolve().parents[1] / "src" / "main.py"


def main() -> None:
    """Run `src/main.py` with this process's arguments."""
    if not MAIN.is_file():
        sys.exit(f"error: {MAIN} is missing; install the checkout with pip install -e, not as a copy")
    sys.argv[0] = str(MAIN)
    sys.path.insert(0, str(MAIN.parent))
    runpy.run_path(str(MAIN), run_name="__main__")


if __name__ == "__main__":
    main()

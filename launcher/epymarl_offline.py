"""Policies of this checkout in your own program: `from epymarl_offline import load_policy`.

The checkout's `src/` is put first on `sys.path`, where its folders are found by EPyMARL's names (`utils`, `envs`, ...).
Raises ImportError, one sentence, where the program has imported other modules of these names before.
"""

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"


def _check() -> None:
    if not (SOURCE / "policy.py").is_file():
        raise ImportError(f"{SOURCE / 'policy.py'} is missing; install the checkout with pip install -e, not as a copy")
    ours = {path.parent.name for path in SOURCE.glob("*/__init__.py")} | {path.stem for path in SOURCE.glob("*.py")}
    for name in sorted(ours & sys.modules.keys()):
        found = getattr(sys.modules[name], "__file__", None)
        if found is None or not Path(found).resolve().is_relative_to(SOURCE):
            raise ImportError(
                f"this program has imported a module '{name}' ({found}), and epymarl-offline has one of that name; "
                "rename it, or use an exported policy, which needs nothing of epymarl-offline"
            )


_check()
if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))

from policy import LoadedPolicy, load_policy  # noqa: E402

__all__ = ["LoadedPolicy", "load_policy"]

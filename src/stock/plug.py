"""What `src/stock/plug_into.py` copies into a stock EPyMARL checkout, and what it appends to files there."""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from utils.config import flattened_yaml
from utils.errors import UserError

SOURCE = Path(__file__).resolve().parents[1]
CONFIGS = ("alberdice", "bc_discrete", "bcq", "comadice_discrete", "icq_discrete", "implicit_q", "omiga",
           "optdice", "spacql_discrete")  # fmt: skip
RECORD = "epymarl_offline.json"  # in the checkout's src: lists what was done there

# What the package's REGISTRY gets: key -> module and class.
ENTRIES: dict[str, dict[str, tuple[str, str]]] = {
    "controllers": {
        "batched_mac": ("stock.batched_controller", "BatchedMAC"),
        "batched_non_shared_mac": ("stock.batched_controller", "BatchedNonSharedMAC"),
    },
    "learners": {
        "alberdice_learner": ("stock.learners", "AlberDICEInStock"),
        "bc_learner": ("stock.learners", "BCInStock"),
        "bcq_learner": ("stock.learners", "BCQInStock"),
        "comadice_learner": ("stock.learners", "ComaDICEInStock"),
        "icq_learner": ("stock.learners", "ICQInStock"),
        "implicit_q_learner": ("stock.learners", "ImplicitQInStock"),
        "omiga_learner": ("stock.learners", "OMIGAInStock"),
        "optdice_learner": ("stock.learners", "OptDICEInStock"),
        "spacql_learner": ("stock.learners", "SPaCQLInStock"),
    },
    "modules/agents": {
        "bcq_ns": ("modules.agents.bcq_ns_agent", "BCQNSAgent"),
        "mlp": ("modules.agents.mlp_agent", "MLPAgent"),
        "mlp_ns": ("modules.agents.mlp_ns_agent", "MLPNSAgent"),
    },
    "modules/critics": {"ensemble_q": ("modules.critics.ensemble_critic", "EnsembleCritic")},
    "runners": {"offline": ("stock.offline_runner", "OfflineRunner")},
}
# Names that a package without a registry gets: module and names.
NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "modules/mixers": ("stock.mixers", ("REGISTRY", "build_mixer")),
}
EXTENDED = (*ENTRIES, *NAMES)  # packages whose `__init__.py` gets a block

# Modules that stock has under the same name with the same interface: our files use stock's there.
STOCK_MODULES = frozenset({
    "components.action_selectors", "components.episode_buffer", "components.epsilon_schedules",
    "components.standarize_stream", "components.transforms", "controllers.basic_controller",
    "controllers.non_shared_controller", "modules.agents.rnn_agent", "modules.agents.rnn_ns_agent",
    "modules.mixers.qmix", "modules.mixers.vdn", "runners.episode_runner", "runners.parallel_runner", "utils.logging",
})  # fmt: skip
STOCK_PACKAGES = frozenset({
    "components", "controllers", "envs", "learners", "modules", "modules.agents", "modules.critics", "modules.mixers",
    "runners", "utils",
})  # fmt: skip
# Modules of stock (commit cbc38c0) beside which our files are put: a record that names one of them is not ours.
STOCKS_OWN = {
    "components": "action_selectors episode_buffer epsilon_schedules standarize_stream transforms",
    "controllers": "basic_controller maddpg_controller non_shared_controller",
    "learners": "actor_critic_learner actor_critic_pac_dcg_learner actor_critic_pac_learner coma_learner "
    "maddpg_learner ppo_learner q_learner qtran_learner",
    "modules.agents": "rnn_agent rnn_feature_agent rnn_ns_agent",
    "modules.critics": "ac ac_ns centralV centralV_ns coma coma_ns maddpg maddpg_ns mlp pac_ac pac_ac_ns pac_dcg_ns",
    "modules.mixers": "qmix qtran vdn",
    "runners": "episode_runner parallel_runner",
    "utils": "dict2namedtuple general_reward_support logging rl_utils timehelper",
}
# Files by which a checkout is recognised; the last one tells EPyMARL from PyMARL.
MARKS = (
    "main.py", "run.py", "config/default.yaml", "config/algs/qmix.yaml", "envs/__init__.py",
    "runners/episode_runner.py", "runners/parallel_runner.py", "components/episode_buffer.py",
    "components/action_selectors.py", "components/transforms.py", "modules/mixers/qmix.py", "modules/mixers/vdn.py",
    "modules/agents/rnn_ns_agent.py", *(f"{folder}/__init__.py" for folder in EXTENDED),
    "utils/general_reward_support.py",
)  # fmt: skip

LEFT_OUT = ("offline", "window", "burn_in")  # keys of our algorithm files that mean nothing in stock
REPLACED = ("agent", "batch_size", "mac")  # keys whose values are taken from stock/stock.yaml
OPEN = re.compile(r'[a-z_]+: "(auto|stochastic)"')  # so is what an algorithm file leaves to the kind of actions
KEPT = 'agent: "bcq_ns"'  # of a learner that has no other agents
# Our comments on lengths are not true in stock: units depend on the runner, and nothing is done at the end of a run.
LENGTHS = "# --- lengths and intervals: in updates offline, in environment steps online ---"
COMMENTS = {
    "t_max": "training length; online, give a longer one, such as 200000",
    "test_interval": "evaluate after the first update (online: the first episodes), then at this interval",
    "save_model_interval": "with save_model=True: checkpoint after the first update or episodes, then at this interval",
    "log_interval": "print a summary at this interval",
    "learner_log_interval": "log the learner's statistics at this interval",
}
BEGIN, END = "# --- begin: added by epymarl-offline, removed by its plug_into.py --remove ---", "# --- end ---"
UNENDED = "# The line before this block had no line end."  # in a block, for a checkout whose record is lost


class PlugError(UserError):
    """A checkout that cannot be plugged into or restored."""


def import_closure(roots: Iterable[str], source: Path = SOURCE) -> set[str]:
    """Return `roots` and the modules of ours that they import, directly or not, without those that stock has.

    Packages are named like modules.
    """
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found or module in STOCK_MODULES or module_file(module, source) is None:
            continue
        parents = [module.rsplit(".", level)[0] for level in range(1, module.count(".") + 1)]
        waiting.extend(parent for parent in parents if parent not in STOCK_PACKAGES)
        if module not in STOCK_PACKAGES:
            found.add(module)
            waiting.extend(imported_names(module, source))
    return found


def module_file(module: str, source: Path = SOURCE) -> Path | None:
    """Return the file of a module or package of ours, None for other names (torch, a class in a module)."""
    stem = source / module.replace(".", "/")
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def imported_names(module: str, source: Path = SOURCE) -> set[str]:
    """Return all absolute names in a module's imports: modules, and what may be one (`from a import b` gives `a.b`)."""
    path = module_file(module, source)
    assert path is not None
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def planned_files() -> dict[str, bytes]:
    """Return the content of every file that is copied, by its path under the checkout's src."""
    files: dict[str, bytes] = {}
    for module in import_closure(roots()):
        path = module_file(module)
        assert path is not None
        files[path.relative_to(SOURCE).as_posix()] = path.read_bytes()
    for name in CONFIGS:
        files[f"config/algs/{name}.yaml"] = stock_config(name).encode()
    return dict(sorted(files.items()))


def roots() -> set[str]:
    """Return the modules that the blocks import."""
    registered = {module for entries in ENTRIES.values() for module, _ in entries.values()}
    return registered | {module for module, _ in NAMES.values()}


def stock_config(name: str) -> str:
    """Return an algorithm file for stock: ours with its bases, and the keys of stock/stock.yaml added or replaced."""
    stock = (SOURCE / "stock" / "stock.yaml").read_text(encoding="utf-8")
    kept = [line for line in flattened_yaml(name).splitlines() if line.startswith(KEPT) or not taken_from_stock(line)]
    has = {key_of(line) for line in kept} - {None}
    body = stock[stock.index("\n\n") + 1 :].splitlines()  # without the file's own comment
    return "\n".join([*map(commented, kept), *(line for line in body if key_of(line) not in has)]) + "\n"


def taken_from_stock(line: str) -> bool:
    """Whether a line of an algorithm file is left out, or replaced by stock/stock.yaml's."""
    return key_of(line) in (*LEFT_OUT, *REPLACED) or OPEN.match(line) is not None


def commented(line: str) -> str:
    """Return a line of an algorithm file with the comment that is true in stock."""
    if line.startswith("# --- length"):
        return LENGTHS
    key = key_of(line)
    return f"{line.split(' # ')[0]} # {COMMENTS[key]}" if key in COMMENTS else line


def key_of(line: str) -> str | None:
    """Return the top-level key that a line of YAML sets, None where it sets none."""
    match = re.match(r"([a-z_0-9]+):", line)
    return match.group(1) if match else None


def planned_blocks(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what is appended to the `__init__.py` files, by path. texts: what they hold now.

    Raises PlugError where a file has one of our names already, or has no REGISTRY to add to.
    """
    for folder, entries in ENTRIES.items():
        path = f"{folder}/__init__.py"
        if re.search(r"^REGISTRY\b", texts[path], re.MULTILINE) is None:
            raise PlugError(f"src/{path} has no REGISTRY, so this is no EPyMARL checkout of a kind known here")
        for key in entries:
            if re.search(rf"""["']{key}["']""", texts[path]):
                raise PlugError(f"src/{path} names '{key}' already; rename that entry first")
    for folder, (_, names) in NAMES.items():
        path = f"{folder}/__init__.py"
        for name in names:
            if re.search(rf"\b{name}\b", texts[path]):
                raise PlugError(f"src/{path} has a {name} already, so this is no EPyMARL checkout of a kind known here")
    return {path: appended(texts[path], body) for path, body in bodies().items()}


def bodies() -> dict[str, str]:
    """Return the blocks from mark to mark, by the path of the file that they are appended to."""
    lines: dict[str, list[str]] = {}
    for folder, entries in ENTRIES.items():
        imports = [f"from {module} import {name}" for module, name in entries.values()]
        lines[folder] = [*imports, "", *(f'REGISTRY["{key}"] = {name}' for key, (_, name) in entries.items())]
    for folder, (module, names) in NAMES.items():
        lines[folder] = [f"from {module} import {', '.join(names)}"]
    return {f"{folder}/__init__.py": "\n".join([BEGIN, *inner, END]) + "\n" for folder, inner in lines.items()}


def appended(text: str, body: str) -> str:
    """Return what is appended to a file's own `text`: a block, after one blank line."""
    if text and not text.endswith("\n"):
        return "\n\n" + body.replace(BEGIN, f"{BEGIN}\n{UNENDED}", 1)
    return f"\n{body}" if text else body


def stock_files() -> set[str]:
    """Return the files that are stock's own, by path: no record of ours lists one as copied."""
    modules = {f"{package}.{name}" for package, names in STOCKS_OWN.items() for name in names.split()} | STOCK_MODULES
    return {*MARKS, *(f"{module.replace('.', '/')}.py" for module in modules)}


def digest(content: bytes) -> str:
    """Return the SHA-256 by which a copied file is recognised."""
    return hashlib.sha256(content).hexdigest()

from modules.mixers.registry import REGISTRY as REGISTRY

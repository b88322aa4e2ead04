REGISTRY = {}

from .basic_controller import BasicMAC  # noqa: E402
from .rowless_controller import RowlessMAC  # noqa: E402

REGISTRY["basic_mac"] = BasicMAC
REGISTRY["rowless_mac"] = RowlessMAC

"""What kind of processor this is, where that decides which of two equal ways is the faster one."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # of Linux


def described(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What the system says of the first processor, such as `vendor_id` and `model name`; nothing where no file is."""
    fields: dict[str, str] = {}
    for line in cpuinfo.read_text().splitlines() if cpuinfo.is_file() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def amd_family(cpuinfo: Path = CPUINFO) -> int | None:
    """The family of an AMD processor (25: Zen 3 and 4, 26: Zen 5); None for others, and where no file says it."""
    fields = described(cpuinfo)
    family = fields.get("cpu family", "")
    return int(family) if fields.get("vendor_id") == "AuthenticAMD" and family.isdecimal() else None

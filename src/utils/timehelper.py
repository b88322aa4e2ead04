"""Durations for people."""


def time_str(seconds: float) -> str:
    """`93784` -> `1 days, 2 hours, 3 minutes, 4 seconds` (stock's format), leading zero units left out."""
    days, rest = divmod(int(max(seconds, 0)), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    units = [(days, "days"), (hours, "hours"), (minutes, "minutes"), (secs, "seconds")]
    while len(units) > 1 and units[0][0] == 0:
        units.pop(0)
    return ", ".join(f"{count} {name}" for count, name in units)

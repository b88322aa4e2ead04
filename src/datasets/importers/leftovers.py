"""Arrays of foreign files that an import does not take."""

from collections.abc import Collection, Iterable

from utils.errors import close_matches, printable

_MOST_NAMED = 20
_LONGEST = 60  # characters of a name


def left_out_note(found: Iterable[str], taken: Collection[str], known: Collection[str]) -> list[str]:
    """The note that names what is left out, in a list that is empty where nothing is.

    found: all arrays of the files. taken: those that the import reads. known: names that the format has; one that the
    files lack may be what a similar name was meant to be.
    """
    there = set(found)
    names = sorted(there - set(taken))
    if not names:
        return []
    said = [f"{printable(name)[:_LONGEST]}{_meant(name, set(known) - there)}" for name in names[:_MOST_NAMED]]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [f"left out: {', '.join(said)}{more}"]


def _meant(name: str, missing: Collection[str]) -> str:
    near = close_matches(name, missing, cutoff=0.8)
    return f" (is it '{near[0]}'? rename it then, and import again)" if near else ""

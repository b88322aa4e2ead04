"""Compression of observations: columns that follow from other columns are not stored.

Observations of particle worlds and robots hold redundant columns. Positions relative to a second agent are differences
of positions relative to the first. A landmark's relative position plus the agent's own position is constant within an
episode. Such columns do not compress by themselves, because float noise does not. `encode` knows nothing of the
environment. It searches for integers C and two sets of series such that

    column_m(row) = sum_k C[m, k] * stored_k(row) + sum_p C[m, K + p] * per_episode_p(episode of row)

to within the float32 rounding of each row's own terms, and stores only C and the series. Columns without such a
relation are stored exactly.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

MAX_ERROR = 1e-6  # absolute error of a value: about float32's rounding of values of a few units
_ROUNDING = 2.0**-22  # the same relative to a value
MAX_COLUMNS = 256  # the search is cubic in the number of columns
_MAX_COEFFICIENT = 8
_SAMPLE = 2048
_BLOCK_ROWS = 1 << 13  # decoded at a time, so that they stay in the cache


_SizeOf = Callable[[int], np.ndarray]  # of a column: the magnitude (R,) of what float32 rounded, row by row


@dataclass(frozen=True)
class ColumnCode:
    """An encoded array: stored (K, R) f32, per_episode (P, E) f32, coefficients (M, K + P) int8."""

    stored: np.ndarray
    per_episode: np.ndarray
    coefficients: np.ndarray


def max_error(values: np.ndarray) -> float:
    """Largest error of any of a column's values after decoding: about float32's rounding of its largest value.

    Most rows are held to less, see `_fits`: a row of small values has no share in the rounding of a large one.
    """
    return max(MAX_ERROR, _ROUNDING * float(np.abs(values).max(initial=0)))


def encode(values: np.ndarray, episode_offsets: np.ndarray) -> ColumnCode | None:
    """Code of `values` (R, ...) float32, or None where every column must be stored."""
    n_rows = len(values)
    columns = np.ascontiguousarray(values.reshape(n_rows, -1).T)  # (M, R)
    if len(columns) > MAX_COLUMNS or len(columns) < 2:
        return None
    forced: set[int] = set()
    while True:
        code = _encode(columns, episode_offsets, forced)
        if len(code.stored) == len(columns):
            return None
        wrong = _wrong_columns(code, columns, episode_offsets)
        if not wrong:
            return code
        forced |= wrong  # their rounding errors add up to too much: store these columns


def decode(
    stored: np.ndarray, per_episode: np.ndarray, coefficients: np.ndarray, episode_of_row: np.ndarray
) -> np.ndarray:
    """Columns (R, M) float32 of rows with `stored` values (K, R) and episode numbers (R,)."""
    n_rows = stored.shape[1]
    out = np.empty((n_rows, len(coefficients)), np.float32)
    terms = [[(index, float(weights[index])) for index in np.flatnonzero(weights)] for weights in coefficients]
    for start in range(0, n_rows, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, n_rows))
        series = np.concatenate([stored[:, rows], per_episode[:, episode_of_row[rows]]]).astype(np.float64)
        block = np.zeros((len(coefficients), series.shape[1]))
        # summed term by term in float64, which gives the same bits on every machine; a matrix product does not
        for total, used in zip(block, terms, strict=True):
            for index, weight in used:
                total += series[index] if weight == 1.0 else weight * series[index]
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes inf or NaN is refused as that
            out[rows] = block.T
    return out


def episode_numbers(episode_offsets: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Episode number of each row in [start, stop), (R,) int64."""
    rows = np.arange(start, episode_offsets[-1] if stop is None else stop)
    return np.searchsorted(episode_offsets, rows, side="right") - 1


def _encode(columns: np.ndarray, episode_offsets: np.ndarray, forced: set[int]) -> ColumnCode:
    def size_of(column: int) -> np.ndarray:
        size: np.ndarray = np.abs(columns[column]).astype(np.float64)
        return size

    basis, outer = _combinations(columns, forced, size_of)  # columns = outer @ columns[basis]
    kept_columns = columns[basis].astype(np.float64)
    n_episodes, n_rows = len(episode_offsets) - 1, columns.shape[1]
    if 4 * n_episodes > n_rows:  # episodes so short that a value per episode saves nothing
        return ColumnCode(columns[basis], np.zeros((0, n_episodes), np.float32), outer.astype(np.int8))
    lengths = np.diff(episode_offsets)
    means = np.add.reduceat(kept_columns, episode_offsets[:-1], axis=1) / lengths  # (K', E)
    centred = kept_columns - np.repeat(means, lengths, axis=1)

    def rounded(column: int) -> np.ndarray:  # float32 rounded the values and their means, not the small differences
        size: np.ndarray = np.maximum(np.abs(kept_columns[column]), np.repeat(np.abs(means[column]), lengths))
        return size

    inner_forced = {position for position, column in enumerate(basis) if column in forced}
    varying, inner = _combinations(centred, inner_forced, rounded)  # centred = inner @ centred[varying]
    derived = [position for position in range(len(basis)) if position not in set(varying)]
    per_episode = means[derived] - inner[derived] @ means[varying]  # (P, E)
    extended = np.zeros((len(basis), len(varying) + len(derived)), np.int64)
    extended[:, : len(varying)] = inner
    extended[derived, len(varying) + np.arange(len(derived))] = 1
    coefficients = outer @ extended
    if np.abs(coefficients).max(initial=0) > np.iinfo(np.int8).max:
        return ColumnCode(columns[basis], np.zeros((0, n_episodes), np.float32), outer.astype(np.int8))
    stored = columns[np.asarray(basis, np.int64)[varying]]
    return ColumnCode(stored, per_episode.astype(np.float32), coefficients.astype(np.int8))


def _combinations(columns: np.ndarray, forced: set[int], size_of: _SizeOf) -> tuple[list[int], np.ndarray]:
    """Indices of the columns (M, R) to keep, and the integers (M, kept) that give every column from those."""
    sample = np.random.default_rng(0).choice(columns.shape[1], min(_SAMPLE, columns.shape[1]), replace=False)
    gram = (rows := columns[:, np.sort(sample)].astype(np.float64)) @ rows.T
    kept: list[int] = []
    weights: dict[int, np.ndarray] = {}
    for column in range(len(columns)):
        found = None if column in forced else _combination(columns, gram, kept, column, size_of)
        if found is None:
            kept.append(column)
        else:
            weights[column] = found
    matrix = np.zeros((len(columns), len(kept)), np.int64)
    for position, column in enumerate(kept):
        matrix[column, position] = 1
    for column, found in weights.items():
        matrix[column, : len(found)] = found
    return kept, matrix


def _combination(
    columns: np.ndarray, gram: np.ndarray, kept: Sequence[int], column: int, size_of: _SizeOf
) -> np.ndarray | None:
    """Integers that give `column` from the kept columns on every row; None where there are none."""
    weights = np.zeros(len(kept), np.int64)
    for position, index in enumerate(kept):  # a copy; where kept columns are nearly dependent, no solution finds it
        if columns[index, 0] == columns[column, 0] and np.array_equal(columns[index], columns[column]):
            weights[position] = 1
            return weights
    if kept:
        within = gram[np.ix_(kept, kept)]
        ridge = np.diag(1e-10 * np.diag(within) + 1e-12)  # keeps near-dependent columns solvable
        solution = np.linalg.solve(within + ridge, gram[kept, column])
        rounded = np.rint(solution)
        if np.abs(solution - rounded).max() > 0.05 or np.abs(rounded).max() > _MAX_COEFFICIENT:
            return None
        weights = rounded.astype(np.int64)
    used = [(index, int(weight)) for index, weight in zip(kept, weights, strict=True) if weight]
    residual = columns[column].astype(np.float64)
    for index, weight in used:
        residual -= weight * columns[index].astype(np.float64)
    own = size_of(column)
    terms = (abs(weight) * size_of(index) for index, weight in used)
    # half the error, because the errors of two stages may add up
    return weights if _fits(np.abs(residual), own, terms, 0.5) else None


def _wrong_columns(code: ColumnCode, columns: np.ndarray, episode_offsets: np.ndarray) -> set[int]:
    """Columns of which a row, decoded, differs by more than its terms' rounding."""
    episode_of_row = episode_numbers(episode_offsets)
    decoded = decode(code.stored, code.per_episode, code.coefficients, episode_of_row)

    def term(index: int, weight: int) -> np.ndarray:
        n_stored = len(code.stored)
        of_episode = index >= n_stored
        series = code.per_episode[index - n_stored][episode_of_row] if of_episode else code.stored[index]
        size: np.ndarray = np.abs(weight * series.astype(np.float64))
        return size

    wrong: set[int] = set()
    for column, original in enumerate(columns):
        weights = code.coefficients[column]
        terms = (term(int(index), int(weights[index])) for index in np.flatnonzero(weights))
        own = original.astype(np.float64)
        if not _fits(np.abs(decoded[:, column].astype(np.float64) - own), np.abs(own), terms, 1.0):
            wrong.add(column)
    return wrong


def _fits(errors: np.ndarray, own: np.ndarray, terms: Iterable[np.ndarray], share: float) -> bool:
    """Whether every row's error is at most `share` of about float32's rounding of what that row was made of.

    errors, own: (R,), the error and the magnitude of the column's own value. terms: (R,) each, the magnitudes of the
    series' terms, which are looked at only where the column's largest value does not settle it.

    The largest value alone is no measure. A column that says 1e8 where there is nothing to say, and else a position,
    would be free to differ by 24 everywhere, and a column in small units would be as good as zero.
    """
    largest, worst = float(own.max(initial=0)), float(errors.max(initial=0))
    least = MAX_ERROR * min(1.0, largest)
    if worst <= share * least:
        return True
    most = max_error(own)
    if not worst <= share * most:  # also where a value of nearly float32's largest is decoded as inf or NaN
        return False
    size = own.copy()
    for term in terms:
        np.maximum(size, term, out=size)
    return bool((errors <= share * np.clip(_ROUNDING * size, least, most)).all())

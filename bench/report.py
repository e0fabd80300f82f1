"""The rows that a benchmark prints, and the floors that it holds itself to."""

import statistics

from bench.clients import Rounds

TITLE = 52
CELL = 14


class Report:
    """Prints rows as they come, and at the end whether every floor holds."""

    def __init__(self) -> None:
        self._floors: list[tuple[str, float, str, float, bool]] = []

    def head(self, *cells: str) -> None:
        self.row("", *cells)

    def row(self, title: str, *cells: str) -> None:
        print(f"{title:{TITLE}}" + "".join(f"{cell:>{CELL}}" for cell in cells), flush=True)

    def rounds(self, title: str, rounds: Rounds, amount: float) -> None:
        """Print amounts a second, ours and the peer's, and their ratio."""
        ours, bare = (amount / statistics.median(side) for side in (rounds.ours, rounds.bare))
        self.row(title, f"{ours:,.0f}", f"{bare:,.0f}", f"{rounds.ratio:.2f}")

    def at_least(self, what: str, found: float, floor: float) -> None:
        self._floors.append((what, found, "at least", floor, found >= floor))

    def at_most(self, what: str, found: float, bar: float) -> None:
        self._floors.append((what, found, "at most", bar, found <= bar))

    def end(self) -> int:
        """Print the floors with their margins; the exit code."""
        for what, found, kind, floor, holds in self._floors:
            verdict = "holds" if holds else "FAILS"
            margin = f" by {abs(found - floor) / floor:.0%}" if floor else ""
            print(f"{what}: {found:.2f}, {kind} {floor:g}: {verdict}{margin}")
        return 0 if all(holds for *_, holds in self._floors) else 1

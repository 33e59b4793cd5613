"""What one run may still spend, in US$: checked before every attempt, with all that is under way counted in."""

import math
import threading

from pipeline.stage import UserError


def cost(tokens: int, price: float) -> float:
    """US$ of so many tokens at a price in US$ per million."""
    return tokens * price / 1e6


class Budget:
    """Tokens spent, and reserved for the requests under way, against `max_cost` US$ of one run (None: no limit).

    Its methods may be called from several threads.
    """

    def __init__(self, what: str, price: float | None, max_cost: float | None) -> None:
        self.spent = 0
        self._reserved = 0
        self._lock = threading.Lock()
        self._what, self._price = what, price or 0.0
        self._max_cost = math.inf if price is None or max_cost is None else max_cost

    def reserve(self, tokens: int) -> None:
        """Before a request of at most so many tokens. Raises UserError, reserving nothing, where it could cost more
        than is left."""
        with self._lock:
            if cost(self.spent + self._reserved + tokens, self._price) > self._max_cost:
                raise UserError(
                    f"{self._what}: max_cost {self._max_cost:g} (of one run): "
                    f"US$ {cost(self.spent, self._price):.6f} are spent and US$ "
                    f"{cost(self._reserved, self._price):.6f} under way, by the server's count or, where it tells "
                    "none, at most; the next request could exceed it; what is paid for is kept"
                )
            self._reserved += tokens

    def settle(self, reserved: int, used: int) -> None:
        """After the request: what it took of what was reserved for it, which a server may exceed."""
        with self._lock:
            self._reserved -= reserved
            self.spent += used

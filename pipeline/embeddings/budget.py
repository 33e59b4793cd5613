"""What may still be spent, in US$: checked before a request is sent, with all that is under way counted in."""

from pipeline.stage import UserError


def cost(tokens: int, price: float) -> float:
    """US$ of so many tokens at a price in US$ per million."""
    return tokens * price / 1e6


class Budget:
    """Tokens spent, and reserved for the requests under way, against `max_cost` US$ (None: no limit).

    For one thread: the one that hands out the work.
    """

    def __init__(self, what: str, price: float | None, max_cost: float | None) -> None:
        self.spent = 0
        self._reserved = 0
        self._what, self._price, self._max_cost = what, price, max_cost

    def reserve(self, tokens: int) -> None:
        """Before a request of at most so many tokens. Raises UserError where it could cost more than is left."""
        self._reserved += tokens
        if self._price is None or self._max_cost is None:
            return
        if cost(self.spent + self._reserved, self._price) > self._max_cost:
            raise UserError(
                f"{self._what}: max_cost {self._max_cost:g}: US$ {cost(self.spent, self._price):.6f} are spent by the "
                "server's own count, and the next request could exceed it; what is paid for is kept"
            )

    def settle(self, reserved: int, used: int) -> None:
        """After the request: what it took of what was reserved for it, which a server may exceed."""
        self._reserved -= reserved
        self.spent += used

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.embeddings.budget import Budget, cost
from pipeline.stage import UserError


def test_cost_is_per_million():
    assert cost(2_500_000, 0.02) == pytest.approx(0.05)


def test_what_is_under_way_counts_until_it_is_settled_and_then_what_it_took():
    budget = Budget("here", price=1.0, max_cost=10e-6)
    budget.reserve(6)
    with pytest.raises(UserError, match=r"here: max_cost 1e-05 \(of one run\): US\$ 0\.000000 .* 0\.000006 under way"):
        budget.reserve(5)  # and nothing of it stays reserved
    budget.reserve(4)
    budget.settle(4, used=0)
    budget.settle(6, used=2)
    budget.reserve(8)
    budget.settle(8, used=9)
    assert budget.spent == 11
    with pytest.raises(UserError, match=r"US\$ 0\.000011 are spent"):
        budget.reserve(0)


@pytest.mark.parametrize(("price", "max_cost"), [(None, None), (1.0, None)])
def test_without_a_limit_everything_is_affordable(price, max_cost):
    budget = Budget("here", price, max_cost)
    budget.reserve(10**12)
    budget.settle(10**12, 10**12)
    assert budget.spent == 10**12


def test_threads_together_spend_no_more_than_there_is():
    budget = Budget("here", price=1.0, max_cost=1000e-6)

    def spend(_):
        try:
            budget.reserve(3)
        except UserError:
            return 0
        budget.settle(3, 3)
        return 3

    with ThreadPoolExecutor(16) as pool:
        spent = sum(pool.map(spend, range(2000)))
    assert spent == budget.spent <= 1000

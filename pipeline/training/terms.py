"""Parts of a loss that see a whole batch. `gather` is that of the context: all rows of the batch, with gradients."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import normalize


def similarity(x: Tensor, z: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over all pairs of rows of (cos(x_i, x_j) - cos(z_i, z_j))^2: do codes z [n, k] keep the similarities of x?

    Each process holds its rows against all, n x N cosines; the mean over processes is that over N x N. A row's cosine
    with itself is 1 on both sides and adds nothing.
    """
    x, z = normalize(x), normalize(z)
    return (x @ gather(x).T - z @ gather(z).T).square().mean()


def decorrelation(z: Tensor, gather: Callable[[Tensor], Tensor], epsilon: float = 1e-6) -> Tensor:
    """Mean over i != j of r_ij^2, r the correlations of the k > 1 values of z [n, k] over the whole batch.

    The off-diagonal term of Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230, equation 1).
    """
    rows = gather(z)
    rows = rows - rows.mean(0)
    rows = rows / (rows.square().mean(0) + epsilon).sqrt()
    correlations = rows.T @ rows / len(rows)
    off = correlations - correlations.diagonal().diag()
    return off.square().sum() / (z.shape[1] * (z.shape[1] - 1))

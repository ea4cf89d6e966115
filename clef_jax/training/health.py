"""Quality measures of a representation: collapse, retrieval, and agreement with risk.

Shapes: N patients, D embedding.
"""

import numpy as np
import scipy.stats


def measure(view_a: np.ndarray, view_b: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """Returns scalars about two views [N, D] of N patients with risks [N] (NaN where unknown).

    - `alignment`: mean squared distance of a patient's views on the sphere, 0 is best;
      `uniformity`: log of the mean Gaussian potential over pairs of patients, lower is more spread
      (Wang & Isola 2020, t = 2).
    - `effective_rank`: exponential of the entropy of the singular values (RankMe, Garrido et al.
      2023), from 1 (collapsed) to D.
    - `retrieval`: fraction of patients whose first view is nearest to their own second view.
    - `risk_distance_correlation`: Spearman's correlation of cosine distance with |risk difference|
      over pairs of patients; NaN with fewer than three known risks, or if all are equal.
    """
    a, b = (_on_sphere(np.asarray(view, np.float64)) for view in (view_a, view_b))
    similarity = a @ a.T
    first, second = np.triu_indices(len(a), k=1)
    pair_distance = 1 - similarity[first, second]
    values = np.linalg.svd(np.concatenate([a, b]), compute_uv=False)
    fraction = values / values.sum()
    entropy = -np.sum(fraction * np.log(fraction + 1e-12))
    return {
        "alignment": float(np.mean(np.sum((a - b) ** 2, axis=1))),
        "uniformity": float(np.log(np.mean(np.exp(-4 * pair_distance)))),
        "effective_rank": float(np.exp(entropy)),
        "retrieval": float(np.mean(np.argmax(a @ b.T, axis=1) == np.arange(len(a)))),
        "risk_distance_correlation": _rank_correlation(
            pair_distance, np.abs(risk[first] - risk[second])
        ),
    }


def _on_sphere(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if len(y) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(scipy.stats.rankdata(x), scipy.stats.rankdata(y))[0, 1])

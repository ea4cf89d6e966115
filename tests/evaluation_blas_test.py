"""Small matrix products use one thread, and large ones as many as before."""

import threadpoolctl

from clef_jax.evaluation import blas


def num_threads() -> set[int]:
    return {
        library["num_threads"]
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    }


def test_small_products_use_one_thread():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert num_threads() == {2}
        with blas.threads_for(blas.SMALL - 1):
            assert num_threads() == {1}
        assert num_threads() == {2}
        with blas.threads_for(blas.SMALL):
            assert num_threads() == {2}

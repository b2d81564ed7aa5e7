from __future__ import annotations

from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from model.tasks.blas import one_blas_thread


def num_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_from_the_first_of_several_to_the_end_of_the_last() -> None:
    with one_blas_thread():
        pass
    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        with first:
            assert num_threads() == {1}
            second.__enter__()
        assert num_threads() == {1}, "the second still learns"
        second.__exit__(None, None, None)
        assert num_threads() == {2}

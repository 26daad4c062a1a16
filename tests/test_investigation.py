"""What a report is made from: on one thread each, as many states at a time as fit into memory."""

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from grokking.analysis import investigation
from grokking.analysis.investigation import MEMORY, investigate, states_at_a_time
from grokking.system.errors import UserError


def threads_in_use():
    """Threads of torch, and of every library of linear algebra that numpy has loaded."""
    libraries = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [torch.get_num_threads(), *libraries]


@pytest.fixture
def several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(3, "blas"):
        yield threads_in_use()
    torch.set_num_threads(before)


def test_sums_are_made_on_one_thread_and_the_others_given_back(
    tmp_path, monkeypatch, several_threads
):
    seen = []

    def stop(directory):
        seen.extend(threads_in_use())
        raise UserError("far enough")

    monkeypatch.setattr(investigation, "last_checkpoint", stop)
    with pytest.raises(UserError, match="far enough"):
        investigate(tmp_path, threads=4)
    assert set(seen) == {1} and len(seen) == len(several_threads)
    assert threads_in_use() == several_threads


def test_as_many_states_are_examined_at_a_time_as_there_are_threads_and_memory_for():
    reference = {"modulus": 113, "d_mlp": 512}
    assert [states_at_a_time(reference, threads) for threads in (1, 2, 8)] == [1, 2, 8]
    most = states_at_a_time(reference, 1000)
    surfaces, logits = 4 * 113**2 * 512, 4 * 113**3
    assert most * (6 * surfaces + 4 * logits) <= MEMORY < (most + 1) * (6 * surfaces + 4 * logits)
    assert states_at_a_time({"modulus": 4095, "d_mlp": 512}, 64) == 1

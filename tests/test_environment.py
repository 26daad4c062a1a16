"""What a run sets for itself: numbers below the normal range count as 0, and only while it trains."""

import platform
import threading

import numpy as np
import pytest
import torch

from grokking.system.environment import denormals_as_zero


def halved() -> list[float]:
    """The smallest normal float32 halved, by torch and by numpy on a thread of its own."""
    smallest = np.full(64, np.finfo(np.float32).tiny)
    found = [(torch.from_numpy(smallest) * 0.5).max().item()]
    thread = threading.Thread(
        target=lambda: found.append(float((smallest * np.float32(0.5)).max()))
    )
    thread.start()
    thread.join()
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the setting is per processor family")
def test_denormals_are_zero_inside_on_new_threads_too_and_back_after():
    kept = float(np.finfo(np.float32).tiny) / 2
    assert halved() == [kept, kept]
    with pytest.raises(KeyError), denormals_as_zero():
        assert halved() == [0.0, 0.0]
        raise KeyError
    assert halved() == [kept, kept]

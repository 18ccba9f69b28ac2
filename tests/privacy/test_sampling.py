"""Batches are Poisson samples from the system's generator, and no state of the noise's generator is set twice."""

import numpy as np
import torch

from workbench.privacy.sampling import poisson_sample, stir


def test_a_sample_has_each_subject_with_the_rate_whoever_else_is_in_it():
    sizes = [len(poisson_sample(1000, 0.3)) for _ in range(200)]
    assert abs(np.mean(sizes) - 300) < 6 * np.sqrt(1000 * 0.21 / 200)
    assert 100 < np.var(sizes) < 350, "a sample of fixed size would vary by nothing"
    assert not np.array_equal(poisson_sample(1000, 0.3), poisson_sample(1000, 0.3))


def test_rates_at_the_ends():
    assert list(poisson_sample(5, 1.0)) == [0, 1, 2, 3, 4]
    assert not len(poisson_sample(1000, 1e-18))
    assert not len(poisson_sample(0, 0.5))


def test_the_whole_state_is_set_anew():
    one, other = (stir(torch.Generator()).get_state() for _ in range(2))
    assert not torch.equal(one, other)
    assert torch.isfinite(torch.randn(2000, generator=stir(torch.Generator()))).all()

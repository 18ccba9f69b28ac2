"""dp-accounting is imported without most of SciPy, and calculates with it all the same."""

from __future__ import annotations

import subprocess
import sys

from workbench.privacy.accounting import dpa, pld, rdp

_PROCESS = """
import sys
from privacy.test_accounting import figures  # imports the accounting
from workbench.privacy.accounting import _later
assert not {"scipy.stats", "scipy.signal", "scipy.optimize"} & set(sys.modules)
with _later(("scipy.stats",)):  # as another thread may import at that moment
    from scipy.stats import norm
assert norm.__module__ == "scipy.stats._continuous_distns" and sys.modules["scipy.stats"].norm is norm
print(figures())
"""


def figures() -> list[float]:
    """What is calculated with the optimiser, the signals and the distributions of SciPy."""
    event = dpa.SelfComposedDpEvent(dpa.PoissonSampledDpEvent(0.1, dpa.GaussianDpEvent(2.0)), 50)
    by_order = rdp.RdpAccountant([2.0, 8.0, 32.0]).compose(event).get_epsilon(1e-5)
    by_loss = pld.PLDAccountant().compose(event).get_epsilon(1e-5)
    return [float(by_order), float(by_loss), float(dpa.get_sigma_gaussian(1.0, 1e-5))]


def test_it_loads_what_it_calculates_with_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROCESS],
        capture_output=True,
        text=True,
        check=True,
        cwd=__file__.rpartition("/privacy/")[0],
    )
    assert done.stdout == f"{figures()}\n"

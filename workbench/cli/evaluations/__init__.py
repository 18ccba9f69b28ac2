"""How good and how private a thing is: evaluations, reports, comparisons, sweeps."""

"""Independent columns: the baseline. It measures every single column and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import Forbidden
from workbench.generators.marginals.fitted import FittedMarginals
from workbench.generators.marginals.forecast import Outlook
from workbench.generators.marginals.initial_measurements import start
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.privacy_cost import Priced
from workbench.progress import FitProgress, silent


@dataclass(frozen=True, kw_only=True)
class Independent(Priced):
    """Independent columns; see `Priced` for what it guarantees."""

    def outlook(self, domain: Domain) -> Outlook:
        """What it will measure."""
        return Outlook(measurements={"single columns, about": self.rho / len(domain.names)})

    def fit(
        self, rows: Rows, notebook: Notebook, *, forbidden: tuple[Forbidden, ...] = (), progress: FitProgress = silent
    ) -> FittedMarginals:
        """Fits the rows, learning of them through the notebook alone."""
        progress(0.0, "measuring single columns")
        begun = start(rows, notebook, rho=self.rho, forbidden=forbidden)
        model = begun.estimate((), total=begun.total)
        progress(1.0, "done", step=1, budget_spent=1.0, misfit=model.misfit)
        return begun.fitted(model)

"""The generators by name; each one's libraries are imported only where it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.config import MARGINAL, SynthesizeConfig
from workbench.errors import InputError
from workbench.generators.generator import FittedGenerator, Generator
from workbench.schema import Codec


def generator_of(config: SynthesizeConfig) -> Generator:
    """The generator that a config asks for."""
    if config.generator in MARGINAL:
        return _marginal(config)
    epochs = {} if config.epochs is None else {"epochs": config.epochs}
    if config.generator == "gaussian_copula":
        from workbench.generators.gaussian_copula import GaussianCopula

        return GaussianCopula()
    if config.generator == "ctgan":
        from workbench.generators.ctgan import Ctgan

        return Ctgan(**epochs)
    if config.generator == "tvae":
        from workbench.generators.tvae import Tvae

        return Tvae(**epochs)
    from workbench.generators.dp_ctgan import DpCtgan

    epsilon, delta = config.budget
    steps = {} if config.steps is None else {"steps": config.steps}
    return DpCtgan(epsilon=epsilon, delta=delta, **steps)


def check_size(config: SynthesizeConfig, codec: Codec) -> None:
    """Raises InputError, from the public schema alone, where a table is too wide or too fine for its generator."""
    if config.generator in MARGINAL:
        from workbench.generators.marginals.forecast import check_memory

        check_memory(config, codec.free_names, codec.free_sizes)
    if config.generator == "dp_ctgan":
        from workbench.generators.dp_ctgan import check_cells

        check_cells(codec)


def load_generator(kind: str, folder: Path, codec: Codec) -> FittedGenerator:
    """A fitted generator of that kind as it was saved; raises InputError where a file is missing or damaged."""
    if kind in MARGINAL:
        from workbench.generators.marginals.table import load_table

        return load_table(folder, codec)
    if kind == "gaussian_copula":
        from workbench.generators.gaussian_copula import load_gaussian_copula

        return load_gaussian_copula(folder, codec)
    if kind == "ctgan":
        from workbench.generators.ctgan import load_ctgan

        return load_ctgan(folder, codec)
    if kind == "tvae":
        from workbench.generators.tvae import load_tvae

        return load_tvae(folder, codec)
    if kind == "dp_ctgan":
        from workbench.generators.dp_ctgan import load_dp_ctgan

        return load_dp_ctgan(folder, codec)
    raise InputError(f"no generator is of kind {kind!r}", hint="a newer workbench may have made it")


def _marginal(config: SynthesizeConfig) -> Generator:
    from workbench.generators.aim import Aim
    from workbench.generators.independent import Independent
    from workbench.generators.marginals.table import MarginalGenerator, Method
    from workbench.generators.mst import Mst

    methods: dict[str, Callable[..., Method]] = {"aim": Aim, "mst": Mst, "independent": Independent}
    epsilon, delta = config.budget
    return MarginalGenerator(method=methods[config.generator](epsilon=epsilon, delta=delta), shards=config.shards)

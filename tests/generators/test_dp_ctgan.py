"""DP-CTGAN: its price is what Opacus applied, a subject is one unit, and only noise and the schema stay."""

import json

import numpy as np
import pytest
import torch
from dp_accounting import ComposedDpEvent, GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, ZCDpEvent
from opacus.optimizers import DPOptimizerFastGradientClipping

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.generators import dp_ctgan, dp_ctgan_networks
from workbench.generators.dp_ctgan import DpCtgan, load_dp_ctgan
from workbench.generators.dp_ctgan_networks import CLIP, Bags, Discriminator, Steps, stir
from workbench.generators.marginals.measurement_log import Notebook
from workbench.privacy.calibration import epsilon_of, filter_order
from workbench.schema.schema import parse_schema
from workbench.schema.value_sets import Within

COLUMNS = {
    "town": {"kind": "categorical", "categories": ["a", "b", "c"], "missing": True},
    "hours": {"kind": "continuous", "bounds": [0, 50], "bins": 5},
    "passed": {"kind": "boolean"},
}
CANARY = 12.345678901234567
QUICK = DpCtgan(epsilon=5, delta=1e-5, steps=2)  # one for all tests: solving for its noise takes longer than its fit
STRONG = DpCtgan(epsilon=60, delta=1e-3, steps=60)
STRONG.__dict__["noise"] = 0.5  # about what it would solve for


def table(subjects=200, rows_each=1, *, columns=COLUMNS, most=3, seed=0, constraints=()):
    """A data set of random rows, in which `passed` goes with `hours`."""
    document = {
        "population": "p",
        "identity_type": "p",
        "subject": "who",
        "max_rows_per_subject": most,
        "constraints": list(constraints),
        "columns": {"who": {"kind": "identifier", "role": "subject_id"}, **columns},
    }
    schema, rng, n = parse_schema(document, source="test"), np.random.default_rng(seed), subjects * rows_each
    hours = rng.uniform(0, 50, n)
    values = {"town": rng.choice([0, 1, 2, np.nan], n), "hours": hours, "passed": (hours > 25).astype(float)}
    points = np.repeat(np.sort(rng.integers(0, 2**62, subjects, dtype=np.uint64)), rows_each)
    stacked = np.stack([values.get(name, np.zeros(n)) for name in columns], axis=1)
    return Dataset(name="t", schema=schema, values=stacked, points=points, slice_points=points)


@pytest.fixture(autouse=True, scope="module")
def few_at_once():
    """A fit ends with 20 draws of so many rows each, which cost ten times what two steps do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_ctgan, "_AT_ONCE", 2**9)
        yield


@pytest.fixture(scope="module")
def fitted():
    return QUICK.fit(table())


@pytest.fixture(scope="module")
def learnt():
    return STRONG.fit(table(2000))


def bags_of(dataset):
    codes = dataset.codec.bin(dataset.values)
    _, starts, counts = np.unique(dataset.points, return_index=True, return_counts=True)
    return Bags(codes, starts, counts, dataset.codec.sizes)


def opponent(bags, *, noise=1e-30, rate=0.5, width=3, scale=0.0):
    """A discriminator with random weights of that scale, and Opacus around it."""
    network = Discriminator(bags.sizes)
    torch.nn.init.normal_(network.pairs.weight, std=scale) if scale else None
    steps = Steps(count=1, rate=rate, noise=noise)
    return network, dp_ctgan_networks._Opponent(network, steps, subjects=2.0, rows_each=1.0, width=width)


def private_gradient(bags, subjects, **how):
    torch.manual_seed(3)
    network, ours = opponent(bags, scale=5.0, **how)
    ours._add_private(bags, np.asarray(subjects, dtype=np.int64))
    return network.pairs.weight.grad.clone()


def test_the_price_is_what_was_applied(monkeypatch, tmp_path):
    applied, rates = [], []
    add_noise, sampled = DPOptimizerFastGradientClipping.add_noise, Bags.sampled

    def noisy(self):
        before = [p.summed_grad.clone() for p in self.params]
        add_noise(self)
        added = torch.cat([(p.grad - b).flatten() for p, b in zip(self.params, before, strict=True)])
        applied.append((self.noise_multiplier, self.max_grad_norm, float(added.std())))

    monkeypatch.setattr(DPOptimizerFastGradientClipping, "add_noise", noisy)
    monkeypatch.setattr(Bags, "sampled", lambda self, rate: rates.append(rate) or sampled(self, rate))
    QUICK.fit(table(), notebook=tmp_path / "notes")
    (multiplier,), (clip,), (rate,) = {a[0] for a in applied}, {a[1] for a in applied}, set(rates)
    assert len(applied) == len(rates) == QUICK.steps
    assert all(std == pytest.approx(multiplier * clip, rel=0.3) for _, _, std in applied)
    step = PoissonSampledDpEvent(rate, GaussianDpEvent(multiplier))
    spent = ZCDpEvent(Notebook(tmp_path / "notes").spent)
    assert epsilon_of(ComposedDpEvent([spent, SelfComposedDpEvent(step, len(applied))]), 1e-5) == pytest.approx(
        epsilon_of(QUICK.event, 1e-5), rel=1e-6
    )
    order = filter_order(QUICK.epsilon, 1e-5)
    assert 0.98 * QUICK.epsilon < epsilon_of(QUICK.event, 1e-5, orders=(order,)) <= QUICK.epsilon


def test_a_subjects_rows_are_clipped_as_one():
    bags = bags_of(table(20, 3))
    everyone = np.arange(20)
    whole = private_gradient(bags, everyone)
    moved = [float((whole - private_gradient(bags, np.delete(everyone, who))).norm()) for who in everyone]
    assert max(moved) <= CLIP * (1 + 1e-4)  # over an expected batch of one
    assert sum(move > 0.99 * CLIP for move in moved) > 5  # it is the clipping that holds them


@pytest.mark.parametrize("at_once", [2**15, 7])
def test_the_gradient_is_the_clipped_sum_by_hand(monkeypatch, at_once):
    monkeypatch.setattr(dp_ctgan_networks, "_ROWS_AT_ONCE", at_once)
    bags = bags_of(table(20, 2))
    torch.manual_seed(3)
    network, ours = opponent(bags, scale=5.0)
    total = torch.zeros_like(network.pairs.weight)
    for who in range(20):
        rows, there = bags.rows(np.array([who]), 3)
        loss = (torch.nn.functional.softplus(-network(rows)) * there).sum()
        (gradient,) = torch.autograd.grad(loss, network.pairs.weight)
        total += gradient * min(1.0, CLIP / float(gradient.norm()))
    ours._add_private(bags, np.arange(20))
    assert torch.allclose(network.pairs.weight.grad, total, atol=1e-4)


def test_fakes_alone_cost_no_noise_and_an_empty_batch_is_noise_alone():
    bags = bags_of(table(5))
    network, ours = opponent(bags, noise=2.0, rate=1e-18)
    assert not len(bags.sampled(1e-18))
    ours._add_private(bags, np.empty(0, dtype=np.int64))
    assert float(network.pairs.weight.grad.std()) == pytest.approx(2.0 * CLIP, rel=0.3)
    quiet, ours = opponent(bags, rate=1e-18)
    fakes = dp_ctgan_networks.hot_rows(torch.zeros(4, 3, dtype=torch.int64), bags.sizes)
    ours.step(bags, fakes)
    weight = quiet.pairs.weight.detach()
    assert float(weight[0, 0]) == pytest.approx(-dp_ctgan_networks._LEARNING_RATE * CLIP / 3, rel=1e-4)
    assert float(weight[1].abs().max()) < 1e-9


def test_every_subject_is_drawn_by_itself_whatever_its_rows():
    bags = bags_of(table(4000, 3))
    drawn = bags.sampled(0.3)
    assert len(bags.starts) == 4000
    assert 1050 < len(drawn) < 1350
    assert len(np.unique(drawn)) == len(drawn)
    assert not np.array_equal(drawn, bags.sampled(0.3))
    rows, there = bags.rows(drawn, 3)
    assert rows.shape[:2] == (len(drawn) + 1, 3)
    assert there.sum() == 3 * len(drawn)


def test_noise_starts_from_a_state_of_the_systems():
    one, other = stir(torch.Generator()), stir(torch.Generator())
    assert not torch.equal(torch.randn(9, generator=one), torch.randn(9, generator=other))
    words = stir(one).get_state().numpy()[24:-40].view(np.uint64)
    assert words.max() < 2**32
    assert len(np.unique(words)) > 600
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words.astype(np.uint32), "pos": 624}}
    expected = [word % 2**24 for word in twister.random_raw(5)]
    assert (torch.rand(5, generator=one) * 2**24).tolist() == expected


def test_the_expected_logit_is_the_mean_over_drawn_rows():
    torch.manual_seed(0)
    network = Discriminator((3, 1, 2))
    torch.nn.init.normal_(network.pairs.weight)
    chances = torch.tensor([[0.2, 0.5, 0.3, 1.0, 0.9, 0.1]])
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(1), torch.arange(2))
    weights = chances[0, codes[:, 0]] * chances[0, 4 + codes[:, 2]]
    mean = (network(dp_ctgan_networks.hot_rows(codes, (3, 1, 2))) * weights).sum()
    assert float(network.expected(chances).detach()[0]) == pytest.approx(float(mean.detach()), rel=1e-5)


def test_numpy_draws_from_torchs_network(fitted):
    network = dp_ctgan_networks.Generator(torch.from_numpy(np.array(fitted.weights["start"])))
    network.load_state_dict({k: torch.from_numpy(np.array(w)) for k, w in fitted.weights.items() if k != "start"})
    inputs = np.random.default_rng(0).standard_normal((6, fitted.weights["first.weight"].shape[1]), dtype=np.float32)
    logits = network(torch.from_numpy(inputs)).detach().numpy()
    assert np.allclose(logits, fitted._logits(inputs), atol=1e-5)


@pytest.mark.slow
def test_a_generous_fit_learns_what_goes_together(learnt):
    values = learnt.sample(4000, rng=np.random.default_rng(0))
    codec = learnt.codec
    hours, passed = values[:, codec.names.index("hours")], values[:, codec.names.index("passed")]
    assert np.mean(passed[hours > 30]) > 0.9
    assert np.mean(passed[hours < 20]) < 0.1
    assert np.isnan(values[:, 0]).mean() == pytest.approx(0.25, abs=0.05)
    assert learnt.total == pytest.approx(2000, rel=0.05)


def test_every_row_lies_in_the_schema_and_equal_seeds_give_equal_rows(fitted):
    values = fitted.sample(20_000, rng=np.random.default_rng(0))
    encoded = fitted.codec.encode(fitted.codec.decode(values))
    assert values.shape == (20_000, 3)
    assert not encoded.violations
    assert np.array_equal(values, fitted.sample(20_000, rng=np.random.default_rng(0)), equal_nan=True)
    assert fitted.sample(0, rng=np.random.default_rng(0)).shape == (0, 3)


def test_conditions_are_met_or_refused(fitted):
    where = {"town": Within(codes=frozenset({1})), "hours": Within(low=10.0, high=30.0)}
    values = fitted.sample(50, rng=np.random.default_rng(0), where=where)
    assert len(values) == 50
    assert set(values[:, 0]) == {1.0}
    assert values[:, 1].min() >= 10
    assert values[:, 1].max() <= 30
    with pytest.raises(InputError, match="meet the conditions on"):
        fitted.sample(5, rng=np.random.default_rng(0), where={"hours": Within(low=60.0, high=70.0)})


def test_declared_constraints_hold_in_every_row():
    columns = COLUMNS | {"half": {"kind": "categorical", "categories": ["low", "high"]}}
    by = {"column": "half", "by": "passed", "values": {"false": "low", "true": "high"}}
    never = {"town": ["a"], "passed": ["true"]}
    dataset = table(columns=columns, constraints=[{"determined": by}, {"never": never}])
    values = QUICK.fit(dataset).sample(5000, rng=np.random.default_rng(0))
    assert len(values) == 5000
    assert not ((values[:, 0] == 0) & (values[:, 2] == 1)).any()
    assert np.array_equal(values[:, 2], values[:, 3])
    assert set(values[:, 0][~np.isnan(values[:, 0])]) == {0, 1, 2}


def test_the_number_of_rows_is_noisy():
    totals = {round(DpCtgan._measure(QUICK, table(), Notebook()).total, 6) for _ in range(6)}
    assert len(totals) > 3
    assert all(abs(total - 200) < 60 for total in totals)


@pytest.mark.parametrize(
    "dataset",
    [
        table(0),
        table(1),
        table(9, columns={"hours": COLUMNS["hours"]}),
        table(9, columns={"passed": COLUMNS["passed"], "only": {"kind": "categorical", "categories": ["x"]}}),
        table(9, columns={"only": {"kind": "categorical", "categories": ["x"]}}),
    ],
    ids=["empty", "one row", "one column", "a column of one value", "one value"],
)
def test_tables_at_the_edge_are_fitted(dataset):
    fitted = QUICK.fit(dataset)
    assert fitted.total >= 0
    values = fitted.sample(30, rng=np.random.default_rng(0))
    assert values.shape == (30, dataset.values.shape[1])
    assert not fitted.codec.encode(fitted.codec.decode(values)).violations


def test_the_files_hold_no_row_and_load_to_the_same_rows(tmp_path):
    dataset = table(30)
    dataset.values[:, 1] = CANARY
    fitted = QUICK.fit(dataset)
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dp_ctgan.json", "dp_ctgan.safetensors"]
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    codes = dataset.codec.bin(dataset.values)
    planted = [
        np.float64(CANARY).tobytes(),
        np.float32(CANARY).tobytes(),
        b"12.3456",
        *(point.tobytes() for point in dataset.points),
    ]
    planted += [row.astype(kind).tobytes() for row in codes for kind in (np.int64, np.float32, np.int32)]
    assert not [needle for needle in planted if len(needle) >= 4 and needle in kept and any(needle)]
    again = load_dp_ctgan(tmp_path, dataset.codec)
    rows = [f.sample(40, rng=np.random.default_rng(5)) for f in (fitted, again)]
    assert np.array_equal(*rows, equal_nan=True)
    assert again.total == fitted.total


def test_damaged_files_are_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    described, weights = tmp_path / "dp_ctgan.json", tmp_path / "dp_ctgan.safetensors"
    good = json.loads(described.read_text()), weights.read_bytes()

    def refused():
        with pytest.raises(InputError):
            load_dp_ctgan(tmp_path, fitted.codec)

    for change in ({"format": "x"}, {"total": None}, {"total": -1}, {"sizes": [4, 5, 3]}, {"names": []}):
        described.write_text(json.dumps(good[0] | change))
        refused()
    described.write_text("[]")
    refused()
    described.write_text(json.dumps(good[0]))
    for damaged in (good[1][:-10], b"", good[1].replace(b"last.bias", b"last.bims")):
        weights.write_bytes(damaged)
        refused()
    from safetensors.numpy import save_file

    for name, change in (
        ("start", np.zeros_like),
        ("last.bias", lambda w: w * np.nan),
        ("first.bias", lambda w: w[1:]),
    ):
        save_file({k: np.ascontiguousarray(change(w) if k == name else w) for k, w in fitted.weights.items()}, weights)
        refused()
    weights.unlink()
    refused()


def test_a_fit_goes_on_from_its_notes_and_never_trains_twice(tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    first = QUICK.fit(table(), notebook=notes)
    monkeypatch.setattr(dp_ctgan_networks, "train", None)  # not needed any more
    again = QUICK.fit(table(seed=1), notebook=notes)
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)
    cut = notes.read_text().splitlines(keepends=True)[:-1]
    notes.write_text("".join(cut))
    with pytest.raises(InputError, match="cut off"):
        QUICK.fit(table(), notebook=notes)


def test_what_cannot_be_fitted_is_refused(monkeypatch):
    for bad in ({"epsilon": 0.0}, {"delta": 1.0}, {"steps": 0}):
        with pytest.raises(InputError):
            DpCtgan(**({"epsilon": 1.0, "delta": 1e-5, "steps": 3} | bad))
    monkeypatch.setattr(dp_ctgan, "MOST_CELLS", 10)
    with pytest.raises(InputError, match="at most 10 cells"):
        QUICK.fit(table())

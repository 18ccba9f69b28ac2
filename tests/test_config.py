"""Configs are read whole or refused with the field that is wrong; only shipped names are looked up elsewhere."""

from pathlib import Path

import pytest

from workbench.config import CONFIGS, SynthesizeConfig, TrainConfig, find_config, parse_config, read_config
from workbench.errors import InputError

TREES, MST = Path("configs/models/trees.yaml"), Path("configs/generators/mst.yaml")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("path", "model"), [(TREES, TrainConfig), (MST, SynthesizeConfig)])
def test_a_shipped_config_is_found_from_anywhere(path, model):
    config = read_config(path, model)
    assert read_config(Path(*path.parts[1:]), model) == config
    assert read_config(CONFIGS.joinpath(*path.parts[1:]), model) == config


def test_a_file_of_ones_own_goes_before_the_shipped_one(tmp_path):
    (tmp_path / "configs" / "models").mkdir(parents=True)
    (tmp_path / TREES).write_text("learner: gradient_boosting\ndataset: mine\nshards: 1\nslices: 1\n")
    assert read_config(TREES, TrainConfig).dataset == "mine"


@pytest.mark.parametrize(
    "path",
    [
        "none.yaml",
        "configs/../pyproject.toml",
        "../pyproject.toml",
        "configs/models/../../pyproject.toml",
        "configs",
        "",
        "/none",
    ],
)
def test_no_path_leads_out_of_the_shipped_configs(path):
    with pytest.raises(InputError, match="no config at") as caught:
        find_config(Path(path))
    assert "configs/models/trees.yaml" in caught.value.hint


def test_overrides_win_and_have_the_types_of_their_fields():
    settings = ["shards=3", " slices =2", "learning_rate=5e-2", "dataset=007x"]
    config = read_config(TREES, TrainConfig, settings)
    assert (config.shards, config.slices, config.learning_rate, config.dataset) == (3, 2, 0.05, "007x")
    assert read_config(MST, SynthesizeConfig, ["rows=null", "epsilon=2"]).rows is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("shards", "has no value"),
        ("shards=", "shards"),
        ("shards=many", "shards"),
        ("shards=0", "shards"),
        ("shards=65537", "shards"),
        ("shards=2.5", "shards"),
        ("slices=[1]", "slices"),
        ("learning_rate=.nan", "learning_rate"),
        ("learning_rate=.inf", "learning_rate"),
        ("learning_rate=2020-13-01", "learning_rate"),
        ("learning_rate=[", "learning_rate"),
        ("leafs=3", "leafs"),
        ("=3", "not a valid config"),
        ("learner=magic", "learner"),
        ("rounds=1", "never be learnt from"),
    ],
)
def test_a_bad_override_is_refused_by_its_field(setting, said):
    with pytest.raises(InputError, match=said):
        read_config(TREES, TrainConfig, [setting])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a list",
        b"text",
        b"a: [",
        b"\xff\xfe",
        b"x: 2020-13-01",
        b"!!python/object/apply:os.system [ls]",
        b"[" * 5000,
        b"1: 2",
    ],
)
def test_what_is_no_config_is_refused(tmp_path, content):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(InputError):
        read_config(Path("c.yaml"), TrainConfig)


def test_every_fault_is_named_at_once():
    with pytest.raises(InputError) as caught:
        parse_config({"generator": "mst", "dataset": "d", "epsilon": -1, "delta": 2}, SynthesizeConfig, source="test")
    assert all(field in str(caught.value) for field in ("epsilon", "delta", "test"))


@pytest.mark.parametrize("setting", ["shards=true", "slices=true", "seed=false", "rounds=60.0", "leaves='31'"])
def test_what_is_no_whole_number_does_not_become_one(setting):
    with pytest.raises(InputError, match=setting.partition("=")[0]):
        read_config(TREES, TrainConfig, [setting])

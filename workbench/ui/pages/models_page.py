"""Models: train one from which any person can be removed, compare versions, predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from workbench.config import TrainConfig, parse_config
from workbench.errors import InputError
from workbench.reports.frontier import draw
from workbench.sisa.learners.registry import LEARNERS
from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.words import counted, day, figure, headline, label, moment, plain
from workbench.workflows.erasure.retire import retire
from workbench.workflows.operations.browser_files import predict_upload
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.overview import model, overview
from workbench.workflows.operations.results import DatasetSummary, ModelDetails, ModelSummary
from workbench.workflows.training.advise_shards import kept_advice

_INFORMED = "advised-by"
_OUTSIDE = (
    "That choice is outside the promise that after an erasure nothing is left of the person: it stays as it was made, "
    "and may depend on them. The shards themselves are trained without them."
)


def page() -> None:
    """The whole page."""
    st.title("Models")
    seen = overview(session.workspace())
    if not seen.datasets:
        st.info("There is no data set yet to train on.")
        places.link("data", "Take in a data set")
        return
    jobs.watch("train", "advise", maps=True)
    jobs.show_fault("train")
    jobs.show_fault("advise")
    titles = ["Models", "New"]
    have, new = st.tabs(titles, default=titles[0] if seen.models else titles[1])
    with new, session.reported():
        _new([one for one in seen.datasets if one.target])
    with have, session.reported():
        _models(seen.models)


def _new(sets: Sequence[DatasetSummary]) -> None:
    if not sets:
        st.info("No data set names a target column, so there is nothing to predict.")
        return
    dataset = st.selectbox("Data set", [one.dataset for one in sets])
    target = next(one.target for one in sets if one.dataset == dataset)
    st.caption(f"The model learns to predict **{plain(target)}**.")
    offered = {spec.name: spec.label for spec in LEARNERS if spec.label}
    learner = st.selectbox("Learner", list(offered), format_func=lambda name: offered[name])
    config = _config(dataset, learner)
    can = session.may("operate")
    with st.container(horizontal=True):
        if st.button("Train the model", type="primary", disabled=not can):
            detach_job(session.workspace(), "train", config.model_dump(mode="json"))
            session.again("Begun.")
        if st.button(
            "How many shards?",
            disabled=not can or config.private,
            help="Measures what each number costs and loses, which takes about a minute.",
        ):
            detach_job(session.workspace(), "advise", config.model_dump(mode="json"))
            session.again("Begun.")
    if not can:
        st.caption("Your role may look, and not train.")
    with session.reported():
        _advice(config)


def _config(dataset: str, learner: str) -> TrainConfig:
    spec = LEARNERS[learner]
    shards, slices = st.columns(2)
    s = shards.number_input(
        "Shards",
        min_value=1,
        max_value=1000,
        value=st.session_state.get("advised-shards", 8),
        help="People are spread over so many parts, each with a model of its own. An erasure trains one part again: more "
        "shards make it cheaper, and cost some accuracy.",
    )
    r = slices.number_input(
        "Slices of a shard",
        min_value=1,
        max_value=100,
        value=st.session_state.get("advised-slices", 4) if spec.resumes else 1,
        disabled=not spec.resumes,
        help="A shard is learnt slice by slice with a checkpoint after each, so an erasure can begin at the person's slice.",
    )
    given: dict[str, Any] = {"learner": learner, "dataset": dataset, "shards": int(s), "slices": int(r)}
    if st.session_state.get(_INFORMED) == (dataset, given["shards"], given["slices"]):
        given["informed_by"] = dataset  # its people's rows chose these numbers
    with st.expander("More settings"):
        rows = st.number_input(
            "About how many rows there are",
            min_value=1,
            value=None,
            help="Small shards then get settings of their own.",
        )
        if rows is not None:
            given["rows"] = int(rows)
        if st.checkbox("Tell labels alone, without probabilities", help="Tells outsiders less about single people."):
            given["answers"] = "labels"
        if spec.private:
            given["epsilon"] = st.number_input("ε", min_value=0.1, max_value=50.0, value=3.0)
            given["delta"] = st.number_input("δ", min_value=1e-12, max_value=0.01, value=1e-5, format="%.0e")
    return parse_config(given, TrainConfig, source="this choice")


def _advice(config: TrainConfig) -> None:
    kept = kept_advice(session.workspace())
    mine = (one for one in kept if (one.dataset, one.learner) == (config.dataset, config.learner))
    advice = next(mine, None)
    if advice is None:
        return
    best = advice.recommended
    partition = f"{counted(best.shards, 'shard')} of {counted(best.slices, 'slice')}"
    st.success(f"Recommended: {partition} (measured {moment(advice.made)}).")
    st.caption(f"To take these is to choose by looking at people's rows. {_OUTSIDE}")
    if st.button("Take these"):
        st.session_state["advised-shards"], st.session_state["advised-slices"] = best.shards, best.slices
        st.session_state[_INFORMED] = (config.dataset, best.shards, best.slices)
        st.rerun()
    values = advice.to_json()
    picture = draw(values["choices"], values["recommended"], advice.metric).decode()
    shown = "Accuracy against what one erasure costs, for each number of shards and slices"
    st.image(picture, caption=shown, alt=shown)
    rows = [
        {
            "Shards": choice.shards,
            "Slices": choice.slices,
            advice.metric.upper(): choice.achieved,
            "Lost": choice.lost,
            "One erasure, s": choice.one_request_s,
            "Training, s": choice.training_s,
        }
        for choice in advice.choices
    ]
    st.dataframe(rows, hide_index=True, alt="What each number of shards and slices loses and costs")
    st.caption("Measured on people's rows: internal, and gone with the next erasure.")


def _models(models: Sequence[ModelSummary]) -> None:
    if not models:
        st.info("No model yet. Train one under “New”.")
        return
    if len(models) > 1:
        rows = [
            {
                "Model": one.ensemble,
                "Data set": one.dataset,
                "Version": one.version,
                "Quality": headline(one.metrics),
            }
            for one in models
        ]
        st.dataframe(rows, hide_index=True, alt="Models beside each other")
    names = [one.ensemble for one in models]
    asked = next((one.ensemble for one in models if one.artifact == st.query_params.get("of")), names[0])
    name = st.selectbox("Model", names, index=names.index(asked))
    one = model(session.workspace(), name)
    row = st.container(horizontal=True)
    row.metric("Version", one.version, border=True, help="Each erasure publishes the next one.")
    row.metric("Shards × slices", f"{one.config['shards']} × {one.config['slices']}", border=True)
    spec = LEARNERS.get(one.config["learner"])
    called = (spec.label if spec else None) or "Other"
    row.metric("Learner", called.split(":")[0].split(" (")[0], border=True)
    row.metric("Published", day(one.created), border=True)
    if informed := one.config.get("informed_by"):
        st.caption(f"Its numbers were chosen by looking at the data of {plain(informed)}. {_OUTSIDE}")
    if one.stale:
        st.warning("Rows were added to the data set since it was trained.")
    _metrics(one)
    _versions(one)
    if session.may("operate"):
        with session.reported():
            _predict(name)
    if session.may("administer"):
        _retire(name)


def _metrics(one: ModelDetails) -> None:
    st.subheader(
        "Quality", help="On people held out of training; with 95 % intervals. Internal: computed from people's rows."
    )
    if not one.metrics:
        st.caption("There is nobody held out to measure it on.")
        return
    row = st.container(horizontal=True)
    for name, value in one.metrics.items():
        told = {"auc": "AUC", "r2": "R²"}.get(name, label(name))
        row.metric(told, figure({"value": value["value"]}), border=True, help=figure(value, 4))
    places.link("reports", "Evaluate it in full", of=one.artifact)


def _versions(one: ModelDetails) -> None:
    st.subheader("Versions")
    rows = [
        {
            "Version": v.version,
            "Published": moment(v.at),
            "Shards trained": len(v.retrained),
            "Because of": ", ".join(v.requests) or "first training",
        }
        for v in one.versions
    ]
    st.dataframe(rows, hide_index=True, alt="Versions, when they were published and because of which requests")


def _predict(name: str) -> None:
    st.subheader("Predict")
    number_of = st.session_state.setdefault("predict-round", 0)
    with st.form(f"predict-{number_of}"):
        file = st.file_uploader("A table with the columns of the data set, without the target", type=["csv", "parquet"])
        asked = st.form_submit_button("Predict")
    if not asked:
        return
    if file is None:
        raise InputError("no table was chosen", hint="choose a .csv or .parquet file")
    download, first = predict_upload(session.workspace(), name, file.name, file.getvalue())
    st.dataframe(first, hide_index=True, alt="The first predictions")
    taken = session.on_click(download.take)
    st.download_button("Download all predictions (CSV)", taken, "predictions.csv", "text/csv", type="primary")
    st.caption("Shards under quarantine did not take part. The upload is not kept.")


def _retire(name: str) -> None:
    with st.expander("Withdraw this model for good"):
        st.write("Removes the model with all its versions and evaluations. Certificates stay valid and say so.")
        sure = st.checkbox("I am sure", key=f"sure-{name}")
        if st.button("Withdraw", disabled=not sure):
            retire(session.workspace(), name)
            session.again("Withdrawn.")


session.shown(page)

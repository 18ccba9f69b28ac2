"""Settings: how erasures are handled, what is kept how long, the keys that sign, who may do what, and the jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from workbench.state.roles import ROLES_FILE, read_roles
from workbench.ui.parts import places, session
from workbench.ui.parts.words import KINDS, label, moment, plain
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.signing_keys import list_keys, rotate_key
from workbench.workflows.operations.jobs import list_jobs
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.retention import retention

_DEFAULT = Path("configs/policies/default.yaml")
_PRIVATE: Mapping[str, str] = {
    "keep_private": "Keep them: their ε bounds what they say about anyone",
    "retire": "Withdraw them",
    "remeasure": "Make them again from what remains, and charge the budget",
}
_NOT_PRIVATE: Mapping[str, str] = {"retire": "Withdraw them", "refit": "Make them again from what remains"}


def page() -> None:
    """The whole page."""
    st.title("Settings")
    titles = ["Erasure policy", "What is kept", "Keys", "People and roles", "Jobs"]
    policies, kept, keys, people, work = st.tabs(titles)
    with policies, session.reported():
        _policies()
    with kept, session.reported():
        _retention()
    with keys, session.reported():
        _keys()
    with people, session.reported():
        _people()
    with work, session.reported():
        _jobs()


def _policies() -> None:
    sets = {one.dataset: one for one in overview(session.workspace()).datasets}
    if not sets:
        st.info("There is no data set yet to have a policy for.")
        places.link("data", "Take in a data set")
        return
    dataset = st.selectbox("Data set", list(sets))
    now = sets[dataset].policy
    fixed = not session.may("administer")
    with st.form(f"policy-{dataset}"):
        st.markdown("**Deciding**")
        approval = st.checkbox("A person approves each request", now.approval == "required", disabled=fixed)
        four_eyes = st.checkbox("Who handed a request in may not approve it (four eyes)", now.four_eyes, disabled=fixed)
        st.markdown("**Time**")
        due = st.number_input(
            "Days until a request is due", 1, 90, now.due_days, disabled=fixed, help="GDPR Art. 12 allows a month."
        )
        window = st.number_input(
            "Hours of a window",
            0,
            720,
            now.window_hours,
            disabled=fixed,
            help="Requests of a window are carried out together; 0: at once.",
        )
        st.markdown("**Beyond these a person approves**")
        per_day = _limit("Requests in 24 hours", now.max_per_day, 1, 100, fixed=fixed)
        seconds = _limit("Seconds of training again, as predicted", now.max_retrain_seconds, 0.0, 60.0, fixed=fixed)
        st.markdown("**What is kept**")
        suppression = st.checkbox(
            "Recognise an erased person who comes back (keeps a keyed token)", now.suppression, disabled=fixed
        )
        private = st.selectbox(
            "Private synthetic tables",
            list(_PRIVATE),
            list(_PRIVATE).index(now.private),
            format_func=_PRIVATE.__getitem__,
            disabled=fixed,
        )
        other = st.selectbox(
            "Tables that are not private",
            list(_NOT_PRIVATE),
            list(_NOT_PRIVATE).index(now.nonprivate),
            format_func=_NOT_PRIVATE.__getitem__,
            disabled=fixed,
        )
        if st.form_submit_button("Save", type="primary", disabled=fixed):
            changed = {
                "approval": "required" if approval else "none",
                "four_eyes": four_eyes,
                "due_days": int(due),
                "window_hours": int(window),
                "suppression": suppression,
                "private": private,
                "nonprivate": other,
                "max_per_day": per_day,
                "max_retrain_seconds": seconds,
            }
            set_policy(session.workspace(), dataset, _DEFAULT, [_override(*item) for item in changed.items()])
            session.again("Saved. Requests already accepted keep what held for them.")
    if fixed:
        st.caption("Only an administrator may change it.")


def _limit(
    what: str, now: int | float | None, least: int | float, usual: int | float, *, fixed: bool
) -> int | float | None:
    """A limit that may be none: a number alone could not be emptied again."""
    most, none = st.columns([3, 1], vertical_alignment="bottom")
    value = most.number_input(what, least, None, usual if now is None else now, disabled=fixed)
    unlimited = none.checkbox("No limit", now is None, key=f"none-{what}", disabled=fixed, help=f"{what}: any number.")
    return None if unlimited else value


def _override(name: str, value: object) -> str:
    return f"{name}={'null' if value is None else str(value).lower() if isinstance(value, bool) else value}"


def _retention() -> None:
    st.write("All that this workspace keeps beside the records and what was made of them, and until when.")
    rows = [
        {"What": one.what, "Now": one.now, "Whom it tells of": one.tells, "Kept until": one.until}
        for one in retention(session.workspace())
    ]
    st.dataframe(rows, hide_index=True, alt="What is kept, whom it tells of and until when", height="content")
    st.caption(
        "Under “Erasure policy” you choose whether erased people are recognised and what becomes of synthetic tables. The rest "
        "is fixed: a proof needs it, or it ends by itself. Backups lie elsewhere and are yours to end."
    )


def _keys() -> None:
    st.write(
        "Certificates are signed with the current key. Hand its public half to whoever is to verify them elsewhere."
    )
    keys = list_keys(session.workspace()).keys
    rows = [{"Key": key.key, "Use": "signs" if key.current else "still trusted"} for key in keys]
    st.dataframe(rows, hide_index=True, alt="Signing keys")
    current = next(key for key in keys if key.current)
    st.download_button(
        "Public key (PEM)", Path(current.public_key).read_bytes(), "public.pem", "application/x-pem-file"
    )
    if session.may("administer"):
        with st.expander("Sign with a new key"):
            st.write("The old private half is destroyed. Certificates signed before stay valid.")
            sure = st.checkbox("I am sure")
            if st.button("Rotate the signing key", disabled=not sure):
                rotate_key(session.workspace())
                session.again("There is a new signing key.")


def _people() -> None:
    someone = session.person()
    if someone is not None:
        st.write(f"You are **{plain(someone.actor)}** with the role **{someone.role}**.")
    st.dataframe(
        [
            {"Role": "viewer", "May": "look at everything but people's rows"},
            {"Role": "operator", "May": "take in data, make tables and models, evaluate, predict, hand in requests"},
            {"Role": "approver", "May": "approve and deny requests, and have them carried out"},
            {"Role": "admin", "May": "all of it, and budgets, policies, keys, and withdrawing models"},
        ],
        hide_index=True,
        alt="Roles and what they may do",
    )
    if not session.signs_in():
        st.info(
            "You are the only user, and the app answers this machine alone. For several people configure an identity provider: "
            f"[auth] in .streamlit/secrets.toml, and who has which role in the workspace's {ROLES_FILE}."
        )
        return
    roles = read_roles(session.workspace().root)
    given = [
        (what, name, role) for what in ("groups", "emails", "subjects") for name, role in getattr(roles, what).items()
    ]
    if session.may("administer"):
        st.dataframe(
            [{"By": what, "Who": name, "Role": role} for what, name, role in given],
            hide_index=True,
            alt="Who has which role",
        )


def _jobs() -> None:
    jobs = list_jobs(session.workspace()).jobs
    if not jobs:
        st.info("Nothing was worked on yet.")
        return
    rows = [
        {
            "Job": job.job,
            "What": KINDS.get(job.kind, label(job.kind)),
            "Status": "its process died" if job.lost else job.status,
            "By": job.actor,
            "Since": moment(job.created),
            "Made": ", ".join(f"{key} {_listed(value)}" for key, value in job.result.items()),
        }
        for job in reversed(jobs)
    ]
    st.dataframe(rows, hide_index=True, alt="Jobs, newest first")
    if any(job.lost for job in jobs):
        st.warning(
            "A process died. `workbench jobs run JOB` takes its work over; erasures are taken up by “Carry out what waits”."
        )


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


session.shown(page)

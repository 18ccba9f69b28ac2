import streamlit as st

from workbench.ui import session


def page() -> None:
    st.title("audit_log")


session.shown(page)

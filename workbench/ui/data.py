import streamlit as st

from workbench.ui import session


def page() -> None:
    st.title("data")


session.shown(page)

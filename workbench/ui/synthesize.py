import streamlit as st

from workbench.ui import session


def page() -> None:
    st.title("synthesize")


session.shown(page)

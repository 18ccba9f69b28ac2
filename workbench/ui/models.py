import streamlit as st

from workbench.ui import session


def page() -> None:
    st.title("models")


session.shown(page)

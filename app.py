"""The app: signs in whoever comes and routes to the pages of `workbench/ui`."""

import streamlit as st

from workbench.ui.parts import icon, places, session

st.set_page_config(page_title="Erasure workbench", page_icon=icon.ICON, layout="wide")
page = st.navigation(places.pages(), position="sidebar")
session.run(page)

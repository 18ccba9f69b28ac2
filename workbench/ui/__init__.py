"""The app's pages: each reads inputs, calls one workflow and shows its result."""

"""A workbench for differentially private synthetic data and exact machine unlearning."""

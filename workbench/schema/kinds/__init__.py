"""The kinds of columns: each file holds one, with its domain, codes, guesses and wording in one place (docs/adr/0041).

A kind says how texts and typed values become numbers and back, which public cells it has, and how `schema infer` finds it. The
file ends with `SPEC`, one instance; the registry reads the folder. Nothing else in the workbench names the kind.
"""

"""smartnoise-synth's MST out of the box, in an environment of its own (pip install smartnoise-synth==1.0.8).

The same arguments and answer as dpmm_mst.py. A tenth of epsilon goes to the bounds of numbers, which it bins by itself.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from snsynth import Synthesizer


def main() -> None:
    source, domain_file, epsilon, target = sys.argv[1:]
    domain = json.loads(Path(domain_file).read_text())
    categorical = [name for name, column in domain.items() if "categories" in column]
    table = pd.read_csv(source, dtype=dict.fromkeys(categorical, str), keep_default_na=False)
    synthesizer = Synthesizer.create("mst", epsilon=float(epsilon), delta=1e-5)
    started = time.perf_counter()
    synthesizer.fit(
        table,
        preprocessor_eps=float(epsilon) / 10,
        categorical_columns=categorical,
        continuous_columns=[name for name in table if name not in categorical],
    )
    fitted = time.perf_counter()
    rows = synthesizer.sample(len(table))
    sampled = time.perf_counter()
    rows.to_csv(target, index=False)
    print(json.dumps({"fit_s": fitted - started, "rows_per_s": len(rows) / (sampled - fitted)}))


if __name__ == "__main__":
    main()

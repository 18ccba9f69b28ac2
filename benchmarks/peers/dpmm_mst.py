"""dpmm's MST, in an environment of its own (pip install dpmm==0.1.9): dpmm_mst.py IN.csv DOMAIN.json EPSILON OUT.csv

DOMAIN.json holds our schema's public domains: `categories`, or `lower` and `upper`. dpmm spends 0.1 more on its binning.
Prints one line of JSON: the seconds of the fit, and the rows a second that the fitted model draws.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from dpmm.pipelines import MSTPipeline


def main() -> None:
    source, domain_file, epsilon, target = sys.argv[1:]
    domain = json.loads(Path(domain_file).read_text())
    categories = {name: column["categories"] for name, column in domain.items() if "categories" in column}
    table = pd.read_csv(source, dtype=dict.fromkeys(categories, str), keep_default_na=False)
    for name, values in categories.items():
        table[name] = pd.Categorical(table[name], categories=values)
    pipeline = MSTPipeline(epsilon=float(epsilon), delta=1e-5, proc_epsilon=0.1)
    started = time.perf_counter()
    pipeline.fit(table, domain)
    fitted = time.perf_counter()
    rows = pipeline.generate(n_records=len(table))
    sampled = time.perf_counter()
    rows.to_csv(target, index=False)
    print(json.dumps({"fit_s": fitted - started, "rows_per_s": len(rows) / (sampled - fitted)}))


if __name__ == "__main__":
    main()

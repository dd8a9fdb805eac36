"""What augmentation costs and gains: time of each layer, accuracy with and without, views against live augmentation.

    python benchmarks/augment.py cost                # time of each layer and preset, share of a training step
    python benchmarks/augment.py mnist               # MNIST-5k from scratch: strong against none, 5 folds, 3 seeds
    python benchmarks/augment.py fashion             # Fashion-MNIST, 10 and 100 images a class: auto against none
    python benchmarks/augment.py views               # 1, 4 and 8 views against live augmentation
    python benchmarks/augment.py table               # writes benchmarks/augment.md from what has been measured

Each figure is kept in benchmarks/augment.json as it is measured; a run that was ended goes on where it stopped.
"""

from __future__ import annotations

import argparse

from augment_accuracy import measure_fashion, measure_mnist, measure_views
from augment_cost import measure_cost
from augment_tables import write_table

from tlkit.backend import start_keras


def main() -> None:
    """Measures what is asked for."""
    jobs = {
        "cost": measure_cost,
        "mnist": measure_mnist,
        "fashion": measure_fashion,
        "views": measure_views,
        "table": write_table,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=[*jobs])
    job = parser.parse_args().job
    if job != "table":
        start_keras()
    jobs[job]()


if __name__ == "__main__":
    main()

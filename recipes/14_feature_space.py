"""Feature space against pixel space: do pictures of one class come together, layer by layer?

Purpose:  show that neighbours in pixel space (a 4 and a 9) part in feature space, where 4 and 4 are near.
Command:  python recipes/14_feature_space.py
Data:     builtin:mnist5k: 3,500 digits train LeNet-5, whose layers are s2, s4, c5 and f6; 750 test. For the layers: how
          many of a digit's 5 neighbours are of its class, in %; pairs are counts of neighbours that are a 4 and a 9
Expected: pixels 81.08 ± 1.08, s2 84.06 ± 1.2, s4 88.8 ± 0.509, c5 93.64 ± 1.24,
          f6 95.38 ± 0.303, untrained_f6 79.84 ± 2.72, pixels_pairs_of_4_and_9 98 ± 39.95,
          f6_pairs_of_4_and_9 10.67 ± 19.43 (3 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     2 minutes on one core shared with other work
"""

import sys

import tlkit
from tlkit import recipes


def measure(options, seed):
    from tlkit.analysis.neighbours import neighbourhoods

    parts = recipes.load_parts(options.data, 32, seed=seed, per_class=20 if options.smoke else None)
    model = tlkit.build_classifier("scratch:lenet5", len(parts.class_names))
    layers = ("s2", "s4", "c5", "f6")
    figures = {f"untrained_{one.layer}": 100 * one.agreement for one in neighbourhoods(model, parts.test, layers)[-1:]}
    tlkit.fine_tune(
        model,
        parts.train,
        validation_data=parts.validation,
        strategy="scratch",
        epochs=1 if options.smoke else 20,
        recipe=tlkit.Recipe(precision="auto"),
        seed=seed,
    )
    for one in neighbourhoods(model, parts.test, layers):
        figures[one.layer] = 100 * one.agreement
    pixels, features = (space.indices for space in neighbourhoods(model, parts.test, ("f6",)))
    labels = parts.test[1]
    confused = {(4, 9), (9, 4)}
    for name, indices in (("pixels", pixels), ("f6", features)):
        pairs = sum((a, b) in confused for row, a in zip(indices, labels, strict=True) for b in labels[row])
        figures[f"{name}_pairs_of_4_and_9"] = float(pairs)
    return figures


sys.exit(recipes.main(measure, __doc__, data="builtin:mnist5k"))

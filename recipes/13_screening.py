"""Two-class screening with rare positives: a threshold chosen to find 95 % of them, and what it costs.

Purpose:  choose the threshold on validation pictures for a wanted sensitivity, and judge it on test pictures.
Command:  python recipes/13_screening.py
Data:     idx:/usr/share/datasets/fashion-mnist: shirts are the rare positives, 3 % of the pictures;
          of another set the seventh class is, or the last
Expected: roc_auc 88.48 ± 2.3, sensitivity 94.12 ± 3.62, specificity 62.12 ± 8.95, precision 7.18 ± 1.33 (3 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     3 minutes on one core shared with other work
"""

import sys

import numpy as np
from sklearn.metrics import roc_auc_score

import tlkit
from tlkit import recipes
from tlkit.screening import evaluate_threshold, threshold_for_sensitivity

POSITIVE, SHARE, SENSITIVITY = 6, 0.03, 0.95


def rare(images, positive, seed):
    """Makes one class the positives, and so rare as they are in screening."""
    pictures, labels = images
    positives, others = (np.flatnonzero((labels == positive) == wanted) for wanted in (True, False))
    count = round(SHARE / (1 - SHARE) * len(others))
    rows = np.sort(np.concatenate([others, np.random.default_rng(seed).permutation(positives)[:count]]))
    return pictures[rows], (labels[rows] == positive).astype(np.int64)


def measure(options, seed):
    parts = recipes.load_parts(options.data, 32, seed=seed, per_class=40 if options.smoke else 1000)
    positive = min(POSITIVE, len(parts.class_names) - 1)
    train, validation, test = (rare(part, positive, seed) for part in (parts.train, parts.validation, parts.test))
    model = tlkit.build_classifier("scratch:lenet5", 2)
    tlkit.fine_tune(
        model,
        train,
        validation_data=validation,
        strategy="scratch",
        epochs=1 if options.smoke else 8,
        learning_rate=1e-3,
        recipe=tlkit.Recipe(balance=True, precision="auto"),
        seed=seed,
    )
    scores = [np.asarray(model.predict(part[0], verbose=0))[:, 1] for part in (validation, test)]
    threshold = threshold_for_sensitivity(validation[1], scores[0], SENSITIVITY)
    found = evaluate_threshold(test[1], scores[1], threshold)
    return {
        "roc_auc": 100 * roc_auc_score(test[1], scores[1]),
        "sensitivity": 100 * found["sensitivity"],
        "specificity": 100 * found["specificity"],
        "precision": 100 * (found["precision"] or 0.0),
    }


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist"))

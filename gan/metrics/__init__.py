"""How good a model is, as figures that may be trusted: images -> features -> figures -> report.

    extractors.py, cards.py    pinned feature networks, what they are, features from images
    domain.py, weights.py      train one on the recipe's own images; take one from a file
    sampling.py, store.py      which images are measured; their features, kept by digest
    moments.py, frechet.py     mean and scatter, streamed in float64; the Frechet distance
    kernel.py                  the kernel distance, unbiased
    neighbours.py              precision, recall, density, coverage, diversity
    memorisation.py            whether training images are copied
    classes.py                 class by class
    intervals.py               a figure with its 95 % interval; paired differences
    scores.py, meter.py        all figures of a set of images; of a bundle
    report.py, calibration.py  metrics.json; two models compared; what N can tell apart
    tracking.py                the figures that a training is watched by
    gallery.py, pictures.py, plots.py, feature_map.py, calibration_plot.py, sheet.py   for people

The distance is called FID where the extractor is the standard network of 2015 with its own weights,
and `fd_<extractor>` otherwise.
"""

"""How good a model is, as figures that may be trusted: features -> moments -> distance -> report.

    extractors.py   open a pinned feature network, read features from images
    domain.py       train that network on the recipe's own images
    moments.py      mean and scatter of features, streamed in float64, also by block
    frechet.py      the Frechet distance, and intervals by reweighting blocks
    neighbours.py   coverage of the real set, spread within a set
    tracking.py     the figures that a training is watched by
    sampling.py     which images are measured: generated, real, noise
    pictures.py     real beside generated, for people
    report.py       metrics.json of one model; the paired difference of two

The distance is called `fd_domain`, never FID: that name belongs to one network that we do not ship.
"""

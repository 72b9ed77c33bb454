"""Adaptive augmentation: more of it as soon as the critic knows its training images by heart.

After Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), eq. 1,
left, with means of the critic's logits over training images, held-out images and fakes:

    r_v = (E[D(train)] - E[D(held out)]) / (E[D(train)] - E[D(fake)])

0: the critic takes images that it never saw for what they are; 1: it takes them for fakes. The
paper's r_t, a share of signs, means nothing here: a relativistic critic has no zero. The strength
follows a cosine (`gan.training.schedule`); what is steered is a raise of it, the `boost`.
"""

import math

_TARGET = 0.5
_MOST = 0.3  # of the probability of each transform, on top of the schedule's
_FULL_RAISE_SHARE = 0.25  # of the run, from 0 to the most
_LEAST_SPREAD = 0.1  # logits between training images and fakes; below it, r_v is noise over noise


def raise_of(
    boost: float, train_score: float, heldout_score: float, fake_score: float, ticks_per_run: float
) -> float:
    """Return the next boost: a step up where r_v is over its target, else a step down.

    Args:
        boost: The boost now, in [0, 0.3].
        train_score: Mean logit of images that the critic is trained on.
        heldout_score: Mean logit of real images that it never saw.
        fake_score: Mean logit of generated images.
        ticks_per_run: How many times in a whole training this is asked.

    Returns:
        In [0, 0.3]; unchanged where a score is not finite or the critic does not tell training
        images from fakes, for then there is nothing to read off.
    """
    spread = train_score - fake_score
    rated = math.isfinite(spread) and math.isfinite(heldout_score)
    if not rated or spread < _LEAST_SPREAD:
        return boost
    step = _MOST / max(1.0, _FULL_RAISE_SHARE * ticks_per_run)
    overfits = (train_score - heldout_score) / spread > _TARGET
    return min(_MOST, max(0.0, boost + (step if overfits else -step)))

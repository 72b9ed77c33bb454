"""What sets a candidate aside before it becomes an asset, and why: a look at each image alone.

    references.py    where what candidates are held against lies
    screens.py       opens the screens that a campaign asks for
    looking.py       looks with all of them
    look.py          what a look gives: a verdict, a reason, scores
    sight.py         blank, broken, perceptual hash and colours: what the image alone tells
    critic.py        what the bundle's own critic likes least
    eyes.py          what the recipe's own extractor sees: classes, features
    copies.py        too near to a training image (training.py, nearest.py: how that is known)
    moderation.py    a local classifier, or a callable of the user's
    seen.py          near duplicates among many, asked in order by who mints

A look depends on the image, its class and the screens, never on the images beside it.
"""

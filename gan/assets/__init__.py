"""Batches of assets: minted from one exact bundle, marked as synthetic, listed, verifiable.

request.py      what is asked for; the ids of batch and assets follow from it
batch.py        mint a batch, or finish one that was killed
making.py       rounds of candidates until a request is met, then files of them:
                quota.py which class next, candidates.py draw and look, settling.py accept or not,
                finishing.py and files.py draw, mark, sign, prove
completing.py   what describes a batch; sheet.py the pages, croissant.py the data set's card,
                parquet.py the manifest as a table
manifest.py     what a batch says of itself (records.py its parts), and whether a folder holds it
regenerate.py   make one asset again
canary.py       sixteen assets that show whether a bundle works
exports.py      other forms of a batch: forms.py folder, zip ..., sinks.py where to, editions.py the
                packs without what a person rejected
packing.py      members and titles of packs
"""

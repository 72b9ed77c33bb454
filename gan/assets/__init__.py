"""Batches of assets: minted from one exact bundle, marked as synthetic, listed, verifiable.

manifest.py   names and rows: what an asset is, and whether a folder still holds it
batch.py      mint a batch, or finish one that was killed
sheet.py      the contact sheet and the page that people open
"""

"""The page of a run: one HTML file, opened from disk, in which the trained model is alive.

facts    what a run directory says: head, curves, settings, figures      models   what the live part needs, by algorithm
document the file: style, scripts and data in one, nothing loaded        assets/  style and scripts
"""

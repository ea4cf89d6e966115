"""Models in use: loads encoders with their preprocessing and embeds recordings.

Recordings are opened, cut into windows, encoded and written in order, with memory that depends
neither on their number nor on their length.
"""

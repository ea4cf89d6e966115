"""Explains an answer: which parts of a recording moved it, with checks of the picture itself."""

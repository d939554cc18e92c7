"""packshot: from a folder of product photos to a reviewed, gated, served image generator."""

__version__ = "0.1.0"

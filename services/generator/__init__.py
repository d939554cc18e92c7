"""The champion, served by BentoML."""

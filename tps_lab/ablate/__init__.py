"""Ablations: a question in a file, its grid of runs, and whatever it takes to get through all of them."""

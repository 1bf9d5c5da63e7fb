"""Result formats: one module for each, found by what a file holds and not by its name."""

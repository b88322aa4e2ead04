"""From many runs to one table that cannot mix things up. Nothing here imports torch."""

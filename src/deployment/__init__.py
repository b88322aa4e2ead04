"""Trained policies for use elsewhere: acting in a user's own script, exported files, films. No Sacred is imported."""

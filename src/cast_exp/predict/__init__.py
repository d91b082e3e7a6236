"""What `python -m cast_exp.segment` does with a user's own pictures."""

"""Parts of an experiment that are not in cast_exp; docs/own_parts.md explains them."""

"""Dashboards of W&B that compare the runs of a project, as code."""

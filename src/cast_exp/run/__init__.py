"""Running what the config says: processes, folders, resuming, multiruns."""

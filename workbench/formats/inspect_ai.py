"""inspect_ai."""

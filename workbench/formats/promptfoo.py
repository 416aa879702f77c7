"""promptfoo."""

"""openai_evals."""

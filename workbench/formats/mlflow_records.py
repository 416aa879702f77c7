"""mlflow_records."""

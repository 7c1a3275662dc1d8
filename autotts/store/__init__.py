"""What is kept: samples by key and outcomes by trial, in one SQL database beside Optuna's studies."""

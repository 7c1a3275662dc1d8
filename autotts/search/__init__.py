"""The study: what is tried, how it races, what is chosen and how that is confirmed. Optuna lives here."""

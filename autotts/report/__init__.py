"""What a study found, for people: tables in the terminal, live progress, figures and one HTML page."""

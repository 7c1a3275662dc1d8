"""How the embedded models are made: data, training, export and cards; the only code here that knows torch."""

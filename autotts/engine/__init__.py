"""Runs plans: one scheduler, fed from memory (`replay`), from stored draws and a world (`live`), within limits."""

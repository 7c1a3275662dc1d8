"""Models that score answers: process and outcome reward models, and judges."""

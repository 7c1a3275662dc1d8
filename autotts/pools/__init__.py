"""Recorded answers of models: files of many layouts in, one common layout and arrays out; nothing is guessed."""

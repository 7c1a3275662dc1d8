"""Predictors learned from past studies, shipped as data: a recipe, a card and a model in each folder."""

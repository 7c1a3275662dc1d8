"""The embedded models: inference on ONNX Runtime, weights with their cards, and the recipe that trains them."""

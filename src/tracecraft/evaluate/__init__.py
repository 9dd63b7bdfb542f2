"""How good a model is: benchmarks, scores with intervals, gates."""

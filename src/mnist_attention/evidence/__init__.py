"""Records to numbers, claims and the report. Imports no Keras, TensorFlow or JAX."""

"""A trained network to numbers: its masks, their scores, interventions."""

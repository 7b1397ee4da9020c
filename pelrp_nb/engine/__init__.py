"""The same composite on any torch model: operations are bent, models are not."""

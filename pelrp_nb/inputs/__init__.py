"""From what the user has (texts, pictures, sound, tensors) to what the model takes, in padded batches."""

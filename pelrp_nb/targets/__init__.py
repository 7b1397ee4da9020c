"""What is explained: the words for it, found in the model's output, one number per question."""

"""What putting a part of one run into another does: estimated on one walk back, and measured by running it."""

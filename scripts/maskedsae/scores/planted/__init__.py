"""What an SAE made of a planted truth."""

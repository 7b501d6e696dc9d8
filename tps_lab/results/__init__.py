"""What a result is: run folders, and what may stand in them."""

"""From a configuration to a trained model and its row, and what one does with it: predict, export, a card."""

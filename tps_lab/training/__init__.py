"""What the loop in `tps_lab.train` is made of: the model, its optimizer, the order of clips, several processes."""

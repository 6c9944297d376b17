"""The starter model: a small CLIP that this project trained itself, on pictures that its own code draws."""

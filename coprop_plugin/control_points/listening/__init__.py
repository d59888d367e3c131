"""What is in the sound: mel rows, silence, change points, detectors."""

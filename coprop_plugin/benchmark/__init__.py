"""Data sets and scores of audio-visual segmentation: AVSBench's, and those that look at time."""

"""Data sets and scores of audio-visual segmentation: AVSBench's, and those that look at time.

`datasets` gives clips with their truth, `metrics` compares a model's answer with it:

    dataset = MS3("Multi-sources", split="test", size=224)
    scores = MaskScores()
    for sample in dataset:
        scores.update(Outcome.of(model.segment(sample.clip), sample))
    scores.compute()["M_J"]
"""

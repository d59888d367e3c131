"""Training with mmengine's Runner: losses, what is trained in which stage, and how a run goes."""

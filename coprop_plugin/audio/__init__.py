"""Audio on its way into a network: resampling, log-mels, VGGish."""

"""Published ELMo checkpoints, read for a bundle. Needs the extra `train`; the service never imports this."""

"""What the network is, on disk and in memory. No HTTP and no training loop."""

"""From vectors to the bytes of a reply: pooling, JSON, base64, Arrow, npz."""

"""What travels: messages, payloads, code and blobs."""

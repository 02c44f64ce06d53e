"""What runs tasks: ours and the peers', each as its users would start it."""

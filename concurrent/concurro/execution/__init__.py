"""Running tasks on this machine: workers, their launcher, the slave core."""

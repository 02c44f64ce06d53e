"""What several tests share: drivers, waits and checks; no tests."""

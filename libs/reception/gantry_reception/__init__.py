"""From received bytes to an acknowledged instance: the ack contract."""

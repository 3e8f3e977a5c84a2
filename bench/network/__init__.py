"""The time to create and remove the network, compared with other tools."""

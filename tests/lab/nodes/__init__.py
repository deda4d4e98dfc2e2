"""Nodes of real control planes: system containers with systemd, containerd and a network of their own."""

"""Reinforcement learning on the device: environments (gymnax) and replay."""

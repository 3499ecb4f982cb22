"""Reinforcement learning on the device: environments (gymnax) and the replay buffer."""

"""What any Python program needs: files, processes, the network, the environment, checks of values."""

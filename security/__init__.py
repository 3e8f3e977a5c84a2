"""The policy, its rules, its proof, and the explanation of a packet."""

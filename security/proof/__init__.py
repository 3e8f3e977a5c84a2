"""The proof: send every probe, and compare the result with the policy."""

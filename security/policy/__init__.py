"""The policy: its table, the model, and the rules it compiles to."""

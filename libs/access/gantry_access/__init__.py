"""Who may do what: the policy point."""

"""Who may do what: logins, tokens, application entities, policy snapshots."""

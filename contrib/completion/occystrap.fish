occystrap completion fish | source

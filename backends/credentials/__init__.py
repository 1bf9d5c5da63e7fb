"""Commands that help an operator to obtain a storage service's credentials."""

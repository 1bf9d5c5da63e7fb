"""An app of the site's own, with a user model of its own."""

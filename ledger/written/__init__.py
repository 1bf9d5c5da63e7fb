"""How the site writes dates: as the deliveries' pages do."""

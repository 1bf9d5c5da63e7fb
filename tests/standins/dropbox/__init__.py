"""A stand-in for Dropbox: https://www.dropbox.com/developers/documentation/http/documentation as the SDK sees it."""

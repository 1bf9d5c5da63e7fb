"""What several tests share: throw-away nodes and small programs that tests start as processes."""

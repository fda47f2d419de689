"""Live updates: the hub of each process, which turns what it hears of seats and holds into frames for its sockets."""

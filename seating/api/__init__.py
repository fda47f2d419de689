"""The REST API of the programme, of seats and of holds; bookings has its own beside it."""

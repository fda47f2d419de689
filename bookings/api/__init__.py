"""The REST API of bookings and of the providers' notices; seating has its own beside it."""
